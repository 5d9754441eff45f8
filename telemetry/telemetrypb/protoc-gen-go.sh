#!/bin/sh
# protoc looks for its plug-in as a file; this one is the version that go.mod names.
exec go tool protoc-gen-go "$@"
