# make dashboard: build the web application that the binary serves; needs Node 20
# make demo: build, and run server, telemetry and logger together
# make test: install what the tests need, and run them all
# make test-short: the tests that start no other processes
# make test-long: kill servers, sources and loggers for minutes while telemetry flows; make test does so for seconds
# make test-once: ONCE_RUNS runs of the test of exactly once at each of five delays, with all CPUs busy; 20 take an hour
# make fuzz: each fuzz target for FUZZTIME
# make lint: golangci-lint; it builds it first
# make bench: measure the server beside its peers, and write docs/BENCHMARKS.md (a quarter of an hour)
# make microbench: the Go benchmarks of the hot path
# make picture: the picture of an hour in the README, from simulated packets

FUZZTIME ?= 15s
ONCE_RUNS ?= 20
DEMO ?=
BENCH ?=

.PHONY: dashboard build demo test test-short test-long test-once check fuzz lint bench microbench picture tools

DASHBOARD := $(filter-out %/node_modules,$(wildcard roles/dashboard/*.json roles/dashboard/tools/* roles/dashboard/public/*)) \
	$(shell find roles/dashboard/src -type f)

dashboard: roles/dashboard/dist/app/index.html

# npm ci and ng build, where something is newer than the page that stands there.
roles/dashboard/dist/app/index.html: $(DASHBOARD)
	@if command -v npm >/dev/null; then \
		cd roles/dashboard && npm ci --no-audit --no-fund --ignore-scripts && npm run build && touch dist/app/index.html; \
	else \
		echo "Node is missing: the binary will serve a page that says how to build the real one"; test -z "$$CI"; \
	fi

build:
	go build -o bin/tbmsock .

demo: dashboard build
	./bin/tbmsock demo $(DEMO)

# The real clients of the end-to-end tests. Node's are installed by the tests themselves. Balancers come to CI's machines
# alone: Debian starts them as services where it installs them.
CLIENTS := python3-socketio python3-requests python3-websocket python3-aiohttp python3-eventlet python3-protobuf protobuf-compiler chromium strace
BALANCERS := haproxy nginx-light

tools:
	@{ /usr/bin/python3 -c 'import socketio, requests, websocket, aiohttp, eventlet, google.protobuf' 2>/dev/null && command -v protoc && command -v chromium && command -v strace; } >/dev/null || \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(CLIENTS) >/dev/null; \
	else \
		echo "a client, a browser or protoc is missing: its tests are skipped (Debian: $(CLIENTS))"; \
	fi
	@PATH="$$PATH:/usr/sbin"; { command -v haproxy && command -v nginx; } >/dev/null || \
	if test -n "$$CI" && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(BALANCERS) >/dev/null; \
	else \
		echo "a balancer is missing: its tests are skipped (Debian: $(BALANCERS))"; \
	fi

check:
	@test -z "$$(gofmt -l .)" || { echo "gofmt:"; gofmt -l .; exit 1; }
	go vet ./...
	GOOS=windows go vet ./...
	GOOS=darwin go vet ./...
	go mod tidy -diff
	@if command -v protoc >/dev/null; then \
		go generate ./telemetry && git diff --exit-code -- '*.pb.go' && \
		{ ! test -d roles/dashboard/node_modules || { sh roles/dashboard/tools/proto.sh && git diff --exit-code -- roles/dashboard/src/app/wire/gen; }; }; \
	else \
		echo "protoc is missing: generated code is not compared (Debian: protobuf-compiler)"; test -z "$$CI"; \
	fi

test: tools dashboard check
	@if command -v npm >/dev/null; then cd roles/dashboard && npm test; fi
	go test -race -timeout 40m ./...

test-short:
	go test -short ./...

test-long: tools
	TBMSOCK_LONG=1 go test -race -count 1 -v -timeout 15m -run '^TestNothingIsLost' ./roles/e2e

# TBMSOCK_ONCE_DELAYS=0,5ms chooses the delays, TBMSOCK_ONCE_SEED repeats a run.
test-once: tools
	TBMSOCK_ONCE_RUNS=$(ONCE_RUNS) go test -race -count 1 -v -timeout 4h -run '^TestExactlyOnce$$' ./roles/e2e

fuzz:
	@set -e; grep -rEo --include='*_test.go' --exclude-dir=node_modules '^func Fuzz[A-Za-z0-9]+' . | sed 's/:func / /' | sort | \
	while read -r file target; do \
		echo "$$target $$(dirname $$file)"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname $$file)"; \
	done

lint:
	go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run ./...

picture: build
	./bin/tbmsock simulate --duration 3h --rate 1hz | ./bin/tbmsock plot --output docs/hour.svg \
		--from 2026-01-05T06:55:00Z --to 2026-01-05T07:55:00Z

# BENCH passes flags on: make bench BENCH="--only paced --rounds 1"
bench: build tools
	go build -o bin/bare ./bench/peers/bare
	@cd bench/peers/node && npm ci --no-audit --no-fund --loglevel=error || echo "socket.io cannot be installed: its rows will be missing"
	mkdir -p docs out
	go run ./bench/run --raw out/bench.json $(BENCH)

microbench:
	go test -run '^$$' -bench . ./transport/...
