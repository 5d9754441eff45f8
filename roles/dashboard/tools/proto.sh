#!/bin/sh
# Makes src/app/wire/gen from the project's .proto files; needs protoc and the packages of npm ci.
set -eu
cd "$(dirname "$0")/.."
protoc --plugin=protoc-gen-es=node_modules/.bin/protoc-gen-es --es_out=src/app/wire/gen --es_opt=target=ts,import_extension=js \
	--proto_path=../../telemetry/telemetrypb --proto_path=../../transport/envelopepb packet.proto envelope.proto
