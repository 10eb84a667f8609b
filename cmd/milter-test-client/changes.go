package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/milter-go/milter/context"
	"github.com/milter-go/milter/option"
	"github.com/milter-go/milter/protocol"
)

// A change is something that is done to every mail at its end.
type change struct {
	name string // of the option
	make func(ctx *context.ClientContext) error
}

// check tries the change on a mail that goes nowhere, so that a bad value is
// found when the program starts.
func (c change) check() (err error) {
	ctx := context.New(io.Discard, context.Config{})
	ctx.OnEndOfMessage(func(ctx *context.ClientContext, _ []byte) protocol.Status {
		err = c.make(ctx)
		return protocol.StatusAccept
	})
	mail := protocol.Negotiate{Option: option.All()}.Append(nil)
	mail = protocol.EnvelopeFrom{Path: "<>"}.Append(mail)
	mail = protocol.EndOfMessage{}.Append(mail)
	if fault := ctx.Feed(mail); fault != nil {
		return fault
	}
	defer ctx.Close()
	if errors.Is(err, context.ErrInvalidArgument) {
		// The rest repeats the name of the option.
		text := err.Error()
		return errors.New(text[strings.LastIndex(text, c.operation()+": ")+len(c.operation()+": "):])
	}
	return err
}

// operation returns what package context calls the change in its errors.
func (c change) operation() string { return strings.ReplaceAll(c.name, "-", " ") }

// cutHeader cuts NAME:VALUE.
func cutHeader(text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, ":")
	if !ok {
		return "", "", errors.New("there is no colon behind the name of the header field")
	}
	return name, unescape(value), nil
}

// headerValue returns what has to be sent so that value stands behind the colon.
func headerValue(ctx *context.ClientContext, value string) string {
	if ctx.Option().Steps.Has(option.StepHeaderValueWithLeadingSpace) {
		return value
	}
	return strings.TrimPrefix(value, " ")
}

func addHeader(text string) (change, error) {
	name, value, err := cutHeader(text)
	return change{"add-header", func(ctx *context.ClientContext) error {
		return ctx.AddHeader(name, headerValue(ctx, value))
	}}, err
}

func insertHeader(text string) (c change, err error) {
	number, field, ok := strings.Cut(text, ":")
	index, err := strconv.Atoi(number)
	if err != nil || !ok {
		return c, errors.New("should be 'INDEX:NAME: VALUE'")
	}
	name, value, err := cutHeader(field)
	return change{"insert-header", func(ctx *context.ClientContext) error {
		return ctx.InsertHeader(index, name, headerValue(ctx, value))
	}}, err
}

// cutIndex reads NAME or NAME[INDEX].
func cutIndex(text string) (name string, index int, err error) {
	name, number, ok := strings.Cut(text, "[")
	if !ok {
		return text, 1, nil
	}
	number, ok = strings.CutSuffix(number, "]")
	if index, err = strconv.Atoi(number); err != nil || !ok {
		return "", 0, fmt.Errorf("%q should be NAME[INDEX]", text)
	}
	return name, index, nil
}

func changeHeader(text string) (c change, err error) {
	field, value, err := cutHeader(text)
	if err != nil {
		return c, err
	}
	name, index, err := cutIndex(field)
	return change{"change-header", func(ctx *context.ClientContext) error {
		return ctx.ChangeHeader(name, index, headerValue(ctx, value))
	}}, err
}

func deleteHeader(text string) (change, error) {
	name, index, err := cutIndex(text)
	// Package context says "change header" of both.
	return change{"change-header", func(ctx *context.ClientContext) error {
		return ctx.DeleteHeader(name, index)
	}}, err
}

func changeFrom(text string) (change, error) {
	address, parameters, _ := strings.Cut(text, " ")
	return change{"change-from", func(ctx *context.ClientContext) error {
		return ctx.ChangeFrom(address, parameters)
	}}, nil
}

func addRecipient(text string) (change, error) {
	address, parameters, _ := strings.Cut(text, " ")
	return change{"add-recipient", func(ctx *context.ClientContext) error {
		return ctx.AddRecipient(address, parameters)
	}}, nil
}

func deleteRecipient(text string) (change, error) {
	return change{"delete-recipient", func(ctx *context.ClientContext) error {
		return ctx.DeleteRecipient(text)
	}}, nil
}

func replaceBody(text string) (c change, err error) {
	body := []byte(unescape(text))
	if path, ok := strings.CutPrefix(text, "@"); ok {
		if body, err = os.ReadFile(path); err != nil {
			return c, err
		}
	}
	body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	body = bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))
	return change{"replace-body", func(ctx *context.ClientContext) error {
		return ctx.ReplaceBody(body)
	}}, nil
}

func quarantine(text string) (change, error) {
	return change{"quarantine", func(ctx *context.ClientContext) error {
		return ctx.Quarantine(text)
	}}, nil
}
