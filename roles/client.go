package roles

import (
	"errors"
	"fmt"
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
		textFlag("url", "address of the server", "http://127.0.0.1:8080"),
		textFlag("path", "path of the Socket.IO endpoint", "/socket.io/"),
		textFlag("namespace", "namespace to connect to", "/"),
		choiceFlag("engine", "revision of Engine.IO; auto asks for 4 first, and for 3 if the server wants that", "auto", "4", "3"),
		choiceFlag("transport", "way to the server; auto polls first and changes to a WebSocket if it can", "auto", "websocket", "polling"),
		compressFlag(),
		drainFlag(),
	}
}

// clientOptions are what the flags say, and the logging of what happens to the connection.
func clientOptions(c *cli.Context, log *logrus.Logger) (transport.ClientOptions, error) {
	opts := transport.ClientOptions{
		URL:          c.String("url"),
		Path:         c.String("path"),
		Namespace:    c.String("namespace"),
		Compress:     compressOf(c),
		DrainTimeout: durationOf(c, "drain"),
		ComeBack:     true, // nobody sits beside a machine to start it again
	}
	if _, err := transport.ParseServerURL(opts.URL); err != nil {
		return opts, fmt.Errorf("--url: %w", err)
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
	entry := log.WithField("url", opts.URL)
	opts.OnConnect = func(sid string, conn transport.Conn) {
		entry.WithFields(logrus.Fields{"sid": sid, "engine": conn.Revision()}).Info("connected")
	}
	opts.OnRetry = func(err error, wait time.Duration) {
		msg := "waiting for the server"
		var refused *transport.ConnectError
		if errors.As(err, &refused) {
			msg = "the server refuses"
		}
		entry.WithError(err).WithField("retry", wait.Round(time.Millisecond).String()).Warn(msg)
	}
	opts.OnDisconnect = func(reason transport.Reason, _ error) {
		entry.WithField("reason", reason.String()).Info("disconnected")
	}
	opts.OnJoin = func(room string, err error) {
		if err != nil {
			entry.WithError(err).WithField("room", room).Error("cannot join")
			return
		}
		entry.WithField("room", room).Info("joined")
	}
	opts.Report = func(err error) { entry.WithError(err).Error("handler failed") }
	return opts, nil
}
