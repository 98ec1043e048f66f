package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// listen is on host:port, or on a Unix socket where the address is a path.
func listen(address string) (net.Listener, error) {
	if strings.HasPrefix(address, "/") {
		os.Remove(address)
		return net.Listen("unix", address)
	}
	return net.Listen("tcp", address)
}

func acceptAll(listener net.Listener, handle func(net.Conn)) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go handle(connection)
	}
}

func sayListening(listener net.Listener) {
	if address, ok := listener.Addr().(*net.TCPAddr); ok {
		say(map[string]any{"port": address.Port})
	} else {
		say(map[string]any{})
	}
}

// socks is a SOCKS5 proxy (RFC 1928) that leads every name to 127.0.0.1. It takes no login, or the JWT of SAP's Connectivity
// Proxy (method 0x80), which it does not look at: the work of a proxy is not what is measured.
func socks(arguments []string) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go acceptAll(listener, func(connection net.Conn) {
		defer connection.Close()
		target, err := acceptSocks(connection)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench socks:", err)
			return
		}
		splice(connection, target)
	})
	sayListening(listener)
	untilStdinEnds()
	return nil
}

func acceptSocks(connection net.Conn) (net.Conn, error) {
	var head [2]byte
	if _, err := io.ReadFull(connection, head[:]); err != nil {
		return nil, err
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(connection, methods); err != nil {
		return nil, err
	}
	method := byte(0)
	for _, offered := range methods {
		if offered == 0x80 {
			method = 0x80
		}
	}
	connection.Write([]byte{5, method})
	if method == 0x80 {
		if err := acceptJwt(connection); err != nil {
			return nil, err
		}
	}
	var request [4]byte
	if _, err := io.ReadFull(connection, request[:]); err != nil {
		return nil, err
	}
	length := map[byte]int{1: 4, 4: 16}[request[3]]
	if request[3] == 3 {
		var octets [1]byte
		if _, err := io.ReadFull(connection, octets[:]); err != nil {
			return nil, err
		}
		length = int(octets[0])
	}
	rest := make([]byte, length+2)
	if _, err := io.ReadFull(connection, rest); err != nil {
		return nil, err
	}
	port := binary.BigEndian.Uint16(rest[length:])
	target, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(int(port)))
	if err != nil {
		return nil, err
	}
	_, err = connection.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 0})
	return target, err
}

// acceptJwt: version 1, the token behind 4 octets of its length, the location behind 1.
func acceptJwt(connection net.Conn) error {
	var head [5]byte
	if _, err := io.ReadFull(connection, head[:]); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, connection, int64(binary.BigEndian.Uint32(head[1:]))); err != nil {
		return err
	}
	var location [1]byte
	if _, err := io.ReadFull(connection, location[:]); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, connection, int64(location[0])); err != nil {
		return err
	}
	_, err := connection.Write([]byte{1, 0})
	return err
}

// tunnel is the least that leads through a SOCKS5 proxy: what Postern's relay is held against.
func tunnel(arguments []string) error {
	flags := flag.NewFlagSet("tunnel", flag.ContinueOnError)
	address := flags.String("listen", "127.0.0.1:0", "host:port, or the path of a Unix socket")
	proxy := flags.String("socks", "", "host:port")
	port := flags.Int("port", 0, "of the target")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := listen(*address)
	if err != nil {
		return err
	}
	go acceptAll(listener, func(connection net.Conn) {
		defer connection.Close()
		target, err := dialSocks(*proxy, "mail.virtual", *port)
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench tunnel:", err)
			return
		}
		splice(connection, target)
	})
	sayListening(listener)
	untilStdinEnds()
	return nil
}

func dialSocks(proxy, host string, port int) (net.Conn, error) {
	connection, err := net.Dial("tcp", proxy)
	if err != nil {
		return nil, err
	}
	request := append([]byte{5, 1, 0, 3, byte(len(host))}, host...)
	answer := make([]byte, 10)
	connection.Write([]byte{5, 1, 0})
	if _, err := io.ReadFull(connection, answer[:2]); err != nil {
		return nil, err
	}
	connection.Write(binary.BigEndian.AppendUint16(request, uint16(port)))
	if _, err := io.ReadFull(connection, answer); err != nil {
		return nil, err
	}
	if answer[1] != 0 {
		return nil, errors.New("refused by the SOCKS5 proxy")
	}
	return connection, nil
}

type halfCloser interface{ CloseWrite() error }

// splice passes both directions, each to its own end.
func splice(a, b net.Conn) {
	defer b.Close()
	done := make(chan struct{})
	go func() {
		io.Copy(b, a)
		b.(halfCloser).CloseWrite()
		close(done)
	}()
	io.Copy(a, b)
	a.(halfCloser).CloseWrite()
	<-done
}

// delay is a network with a round-trip time: what is sent arrives half of it later, and a connection takes one and a half of it
// until the server has it, as TCP's handshake does.
func delay(arguments []string) error {
	flags := flag.NewFlagSet("delay", flag.ContinueOnError)
	roundTrip := flags.Duration("round-trip", 80*time.Millisecond, "")
	target := flags.String("target", "", "host:port")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go acceptAll(listener, func(connection net.Conn) {
		begin := time.Now()
		defer connection.Close()
		up := make(chan parcel, 1024)
		// What is sent in the first round trip is sent by the app's kernel only after it.
		go receive(connection, up, *roundTrip/2, begin.Add(*roundTrip))
		time.Sleep(time.Until(begin.Add(*roundTrip * 3 / 2)))
		server, err := net.Dial("tcp", *target)
		if err != nil {
			return
		}
		defer server.Close()
		down := make(chan parcel, 1024)
		go receive(server, down, *roundTrip/2, begin)
		go deliver(server, up)
		deliver(connection, down)
	})
	sayListening(listener)
	untilStdinEnds()
	return nil
}

type parcel struct {
	due   time.Time
	bytes []byte
}

func receive(from net.Conn, to chan<- parcel, transit time.Duration, earliest time.Time) {
	defer close(to)
	in := bufio.NewReaderSize(from, 64<<10)
	for {
		buffer := make([]byte, 16<<10)
		n, err := in.Read(buffer)
		if n > 0 {
			sent := time.Now()
			if sent.Before(earliest) {
				sent = earliest
			}
			to <- parcel{sent.Add(transit), buffer[:n]}
		}
		if err != nil {
			return
		}
	}
}

func deliver(to net.Conn, parcels <-chan parcel) {
	for parcel := range parcels {
		time.Sleep(time.Until(parcel.due))
		if _, err := to.Write(parcel.bytes); err != nil {
			break
		}
	}
	to.(halfCloser).CloseWrite()
	for range parcels {
	}
}

func eachNumber(from io.Reader, do func(int) error) error {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		number, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		if err := do(number); err != nil {
			return err
		}
	}
	return nil
}
