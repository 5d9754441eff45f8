package transport_test

import (
	"context"
	"fmt"
	"net/http"

	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// A server of one's own: any event, any name, and the sid of who sent it in every handler.
func ExampleServer() {
	srv, err := transport.NewServer(transport.ServerOptions{
		Engines: []transport.NewEngine{engine4.New},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = srv.Shutdown(context.Background()) }()

	ns := srv.Of("/")
	ns.OnConnect(func(_ context.Context, s *transport.Socket, auth transport.Value) error {
		if len(ns.Sockets()) >= 100 {
			return &transport.Refusal{Message: "come back later"}
		}
		return nil
	})
	ns.On("my event", func(_ context.Context, ev *transport.Event) {
		var text string
		if err := ev.Args.Decode(&text); err != nil {
			return
		}
		_ = ev.Ack("got " + text + " from " + ev.Sid())
	})

	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	fmt.Println(srv.Path())
	// Output: /socket.io/
}

// A client moves in and out of the room chat_users.
func ExampleSocket_Join() {
	srv, err := transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine4.New}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = srv.Shutdown(context.Background()) }()
	ns := srv.Of("/")
	ns.On("begin_chat", func(_ context.Context, ev *transport.Event) {
		if err := ev.Socket().Join("chat_users"); err != nil {
			_ = ev.Ack(err.Error())
			return
		}
		_ = ns.To("chat_users").Emit("user_joined", ev.Sid())
	})
	ns.On("exit_chat", func(_ context.Context, ev *transport.Event) {
		ev.Socket().Leave("chat_users")
		_ = ns.To("chat_users").Emit("user_left", ev.Sid())
	})

	tom := chatClient(srv)
	defer tom.close()
	tom.emit("begin_chat")
	fmt.Println(tom.hears(), ns.Sockets("chat_users")[0].Sid() == tom.sid)
	tom.emit("exit_chat")
	tom.emit("begin_chat") // what it hears next is its own coming back, not its leaving
	fmt.Println(tom.hears())
	// Output:
	// user_joined true
	// user_joined
}

// Every client is alone in a room that has its sid for a name.
func ExampleNamespace_To() {
	srv, err := transport.NewServer(transport.ServerOptions{Engines: []transport.NewEngine{engine4.New}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = srv.Shutdown(context.Background()) }()
	ns := srv.Of("/")
	ns.On("my event", func(_ context.Context, ev *transport.Event) {
		room := ev.Sid()
		_ = ns.To(room).Emit("my reply", "for you alone")
	})

	tom, ann := chatClient(srv), chatClient(srv)
	defer tom.close()
	defer ann.close()
	tom.emit("my event")
	fmt.Println("tom hears", tom.hears())
	ann.emit("my event") // had she heard the first reply, there would be two
	fmt.Println("ann hears", ann.hears())
	// Output:
	// tom hears my reply
	// ann hears my reply
}
