# shellcheck shell=bash
# Part of interop/run: the packages of the peers, milters and an MTA's end that
# others wrote. Without a package its tests are skipped.

need gcc libc6-dev libmilter-dev || export INTEROP_SKIP_LIBMILTER="the packages could not be installed"
need python3 python3-milter || export INTEROP_SKIP_PYMILTER="the packages could not be installed"
need opendkim || export INTEROP_SKIP_OPENDKIM="the package could not be installed"
need miltertest || export INTEROP_SKIP_MILTERTEST="the package could not be installed"
