// Go's net/http, with the endpoints that throughput and the probe ask for: PORT CERT KEY.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var chunk = []byte(strings.Repeat("x", 16*1024))

func said(text string, closes bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if closes {
			w.Header().Set("Connection", "close")
		}
		io.WriteString(w, text)
	}
}

func xs(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(n))
	for ; n > len(chunk) && err == nil; n -= len(chunk) {
		_, err = w.Write(chunk)
	}
	if err == nil {
		w.Write(chunk[:n])
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("listening on", listener.Addr())
	http.HandleFunc("/", said("hello\n", false))
	http.HandleFunc("/close", said("bye\n", true))
	http.HandleFunc("/ignore-body", said("ignored\n", true))
	http.HandleFunc("/bytes/", xs)
	http.HandleFunc("/unread/", xs)
	// Its log has a line for every handshake that fails.
	server := &http.Server{ErrorLog: log.New(io.Discard, "", 0)}
	terminated, closed := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(limit)
		close(closed)
	}()
	if err := server.ServeTLS(listener, os.Args[2], os.Args[3]); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-closed
}
