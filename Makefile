# make demo: build, and run server, telemetry and logger together
# make test: install what the tests need, and run them all
# make fuzz: each fuzz target for FUZZTIME
# make lint: golangci-lint; it builds it first
# make bench: the benchmarks
# make picture: the picture of an hour in the README, from simulated packets

FUZZTIME ?= 30s
DEMO ?=

.PHONY: build demo test check fuzz lint bench picture tools

build:
	go build -o bin/tbmsock .

demo: build
	./bin/tbmsock demo $(DEMO)

# The real clients of the end-to-end tests. Node's are installed by the tests themselves.
tools:
	@{ /usr/bin/python3 -c 'import socketio, requests, websocket, aiohttp, eventlet, google.protobuf' 2>/dev/null && command -v protoc >/dev/null; } || \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
			python3-socketio python3-requests python3-websocket python3-aiohttp python3-eventlet python3-protobuf protobuf-compiler >/dev/null; \
	else \
		echo "python-socketio is missing: its tests are skipped (Debian: python3-socketio python3-requests python3-websocket python3-aiohttp python3-eventlet python3-protobuf protobuf-compiler)"; \
	fi

check:
	@test -z "$$(gofmt -l .)" || { echo "gofmt:"; gofmt -l .; exit 1; }
	go vet ./...
	go mod tidy -diff
	@if command -v protoc >/dev/null; then \
		go generate ./telemetry && git diff --exit-code -- '*.pb.go'; \
	else \
		echo "protoc is missing: generated code is not compared (Debian: protobuf-compiler)"; test -z "$$CI"; \
	fi

test: tools check
	go test -race -timeout 10m ./...

fuzz:
	go test -run '^$$' -fuzz '^FuzzPacket$$' -fuzztime $(FUZZTIME) ./transport
	go test -run '^$$' -fuzz '^FuzzEnvelope$$' -fuzztime $(FUZZTIME) ./transport
	go test -run '^$$' -fuzz '^FuzzUnmarshalProto$$' -fuzztime $(FUZZTIME) ./telemetry
	go test -run '^$$' -fuzz '^FuzzParseJSON$$' -fuzztime $(FUZZTIME) ./telemetry/recording
	go test -run '^$$' -fuzz '^FuzzHandshake$$' -fuzztime $(FUZZTIME) ./transport/wire
	go test -run '^$$' -fuzz '^FuzzPayload$$' -fuzztime $(FUZZTIME) ./transport/engine4
	go test -run '^$$' -fuzz '^FuzzMessage$$' -fuzztime $(FUZZTIME) ./transport/engine4
	go test -run '^$$' -fuzz '^FuzzPayload$$' -fuzztime $(FUZZTIME) ./transport/engine3
	go test -run '^$$' -fuzz '^FuzzMessage$$' -fuzztime $(FUZZTIME) ./transport/engine3

lint:
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

picture: build
	./bin/tbmsock simulate --duration 3h --rate 1hz | ./bin/tbmsock plot --output docs/hour.svg \
		--from 2026-01-05T06:55:00Z --to 2026-01-05T07:55:00Z

bench:
	go test -run '^$$' -bench . ./transport/...
