package transport_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"time"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// exampleClient is the other side of the examples: the fewest lines that speak Engine.IO 4.
type exampleClient struct {
	socket *wire.Socket
	server *httptest.Server
	sid    string
}

func chatClient(srv *transport.Server) *exampleClient {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	hs := httptest.NewServer(srv)
	s, err := wire.Dial(ctx, "ws"+strings.TrimPrefix(hs.URL, "http")+"/socket.io/?EIO=4&transport=websocket", nil, 1<<20)
	if err != nil {
		panic(err)
	}
	c := &exampleClient{socket: s, server: hs}
	c.read()
	_ = s.WriteMessage(false, []byte("40"))
	var body struct{ Sid string }
	_ = json.Unmarshal([]byte(strings.TrimPrefix(c.read(), "40")), &body)
	c.sid = body.Sid
	return c
}

func (c *exampleClient) read() string {
	_, data, err := c.socket.Read()
	if err != nil {
		panic(err)
	}
	return string(data)
}

func (c *exampleClient) emit(event string) {
	_ = c.socket.WriteMessage(false, []byte(`42["`+event+`"]`))
}

func (c *exampleClient) hears() string {
	var args []any
	_ = json.Unmarshal([]byte(strings.TrimPrefix(c.read(), "42")), &args)
	return args[0].(string)
}

func (c *exampleClient) close() {
	c.socket.Close(transport.ReasonTransportClose)
	c.server.Close()
}
