// Go's net/http, as it is: one client for each pool.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

type failure struct {
	Begun  float64 `json:"begun"`
	At     float64 `json:"at"`
	Method string  `json:"method"`
	Error  string  `json:"error"`
}

type report struct {
	Version  string    `json:"version"`
	Requests int       `json:"requests"`
	Failed   []failure `json:"failed"`
}

var (
	lock  sync.Mutex
	seen  = report{Version: "net/http of " + runtime.Version(), Failed: []failure{}}
	until = real("UNTIL")
	body  = bytes.Repeat([]byte("b"), 1000)
	xs    = bytes.Repeat([]byte("x"), number("LENGTH"))
)

func number(name string) int {
	value, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		panic(err)
	}
	return value
}

func real(name string) float64 {
	value, err := strconv.ParseFloat(os.Getenv(name), 64)
	if err != nil {
		panic(err)
	}
	return value
}

func idle() time.Duration {
	from, to := real("IDLE_FROM_MS"), real("IDLE_MS")
	return time.Duration((from + rand.Float64()*(to-from)) * 1e6)
}

func now() float64 { return float64(time.Now().UnixNano()) / 1e9 }

// client is http.DefaultTransport but for the certificate, and HTTP/2 where it is not wanted.
func client(roots *x509.CertPool) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	if os.Getenv("HTTP") == "1" {
		transport.ForceAttemptHTTP2 = false
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &http.Client{Transport: transport}
}

func exchange(client *http.Client, method string) error {
	url, wanted := os.Getenv("URL")+os.Getenv("GET"), xs
	var sent io.Reader
	if method == "POST" {
		url, wanted, sent = os.Getenv("URL")+os.Getenv("POST"), body, bytes.NewReader(body)
	}
	request, err := http.NewRequest(method, url, sent)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode != 200 || !bytes.Equal(got, wanted) {
		return fmt.Errorf("%d, %d bytes", answer.StatusCode, len(got))
	}
	return nil
}

func work(client *http.Client) {
	methods := []string{"GET", "POST"}
	if os.Getenv("POST") == "" {
		methods = methods[:1]
	}
	turn := rand.Intn(len(methods))
	for first := true; first || now() < until; first = false {
		time.Sleep(idle())
		begun := now()
		method := methods[turn]
		err := exchange(client, method)
		lock.Lock()
		seen.Requests++
		if err != nil {
			seen.Failed = append(seen.Failed, failure{begun, now(), method, err.Error()})
		}
		lock.Unlock()
		turn = (turn + 1) % len(methods)
	}
}

func main() {
	rand.Seed(time.Now().UnixNano())
	pem, err := os.ReadFile(os.Getenv("CA"))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		panic("no certificate in CA")
	}
	var workers sync.WaitGroup
	for pool := 0; pool < number("POOLS"); pool++ {
		client := client(roots)
		for worker := 0; worker < number("PER_POOL"); worker++ {
			workers.Add(1)
			go func() {
				defer workers.Done()
				work(client)
			}()
		}
	}
	workers.Wait()
	json.NewEncoder(os.Stdout).Encode(seen)
}
