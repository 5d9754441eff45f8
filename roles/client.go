package roles

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// clientFlags are those of every role that connects to a server.
func clientFlags() []cli.Flag {
	return []cli.Flag{
		urlFlag(),
		textFlag("path", "path of the Socket.IO endpoint", "/socket.io/"),
		textFlag("namespace", "namespace to connect to", "/"),
		choiceFlag("engine", "revision of Engine.IO; auto asks for 4 first, and for 3 if the server wants that", "auto", "4", "3"),
		choiceFlag("transport", "way to the server; auto polls first and changes to a WebSocket if it can", "auto", "websocket", "polling"),
		compressFlag(),
		drainFlag(),
	}
}

func urlFlag() cli.Flag {
	const usage = "address of the server, http[s]://[user:password@]host[:port]; of several that are one hub the next is tried when one fails (repeatable)"
	return layeredFlag{valueFlag("url", usage, &listValue{items: []string{"http://127.0.0.1:8080"}, check: checkURL, split: transport.SplitURLs})}
}

// checkURL leaves it to the flag's error to name the value.
func checkURL(s string) error {
	if _, err := transport.ParseServerURL(s); err != nil {
		return errors.Unwrap(err)
	}
	return nil
}

// clientOptions are what the flags say, and the logging of what happens to the connection.
func clientOptions(c *cli.Context, log *logrus.Logger) (transport.ClientOptions, error) {
	urls := listOf(c, "url")
	if len(urls) == 0 {
		return transport.ClientOptions{}, errors.New("--url: no address; use one such as http://127.0.0.1:8080")
	}
	opts := transport.ClientOptions{
		URL:          urls[0],
		Others:       urls[1:],
		Path:         c.String("path"),
		Namespace:    c.String("namespace"),
		Compress:     compressOf(c),
		DrainTimeout: durationOf(c, "drain"),
		ComeBack:     true, // nobody sits beside a machine to start it again
	}
	if err := transport.CheckNamespace(opts.Namespace); err != nil {
		return opts, fmt.Errorf("--namespace: %w", err)
	}
	switch choiceOf(c, "engine") {
	case "4":
		opts.Dialers = []transport.Dialer{engine4.Dialer{}}
	case "3":
		opts.Dialers = []transport.Dialer{engine3.Dialer{}}
	default:
		opts.Dialers = []transport.Dialer{engine4.Dialer{}, engine3.Dialer{}}
	}
	if t := choiceOf(c, "transport"); t != "auto" {
		opts.Transports = []string{t}
	}
	var dialed atomic.Pointer[logrus.Entry] // names the address that is used
	dialed.Store(log.WithField("url", transport.RedactURL(opts.URL)))
	opts.OnDial = func(url string) { dialed.Store(log.WithField("url", url)) }
	opts.OnConnect = func(sid string, conn transport.Conn) {
		dialed.Load().WithFields(logrus.Fields{"sid": sid, "engine": conn.Revision()}).Info("connected")
	}
	opts.OnRetry = func(err error, wait time.Duration) {
		msg := "waiting for the server"
		var refused *transport.ConnectError
		if errors.As(err, &refused) {
			msg = "the server refuses"
		}
		dialed.Load().WithError(err).WithField("retry", wait.Round(time.Millisecond).String()).Warn(msg)
	}
	opts.OnDisconnect = func(reason transport.Reason, _ error) {
		dialed.Load().WithField("reason", reason.String()).Info("disconnected")
	}
	opts.OnJoin = func(room string, err error) {
		if err != nil {
			dialed.Load().WithError(err).WithField("room", room).Error("cannot join")
			return
		}
		dialed.Load().WithField("room", room).Info("joined")
	}
	opts.Report = func(err error) { dialed.Load().WithError(err).Error("handler failed") }
	return opts, nil
}
