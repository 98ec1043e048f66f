package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"flag"
	"io"
	"net"
	"strconv"
	"strings"
)

// The message of every session, 2 KiB, and the one of the bulk case.
const (
	messageOctets = 2048
	bulkOctets    = 256 << 20
)

var message = strings.Repeat("Subject: bench\r\n", 4) + "\r\n" + strings.Repeat(strings.Repeat("x", 62)+"\r\n", (messageOctets-66)/64)

type server struct {
	protocol string
	// For STARTTLS, and for TLS from the first octet.
	tls      *tls.Config
	implicit bool
}

// serve listens with every protocol, plain and TLS, and says where: {"smtp": 12345, "smtps": ...}.
func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	certificate := flags.String("cert", "", "PEM file")
	key := flags.String("key", "", "PEM file")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	ports := map[string]int{}
	for _, protocol := range []string{"smtp", "imap", "pop3"} {
		for _, implicit := range []bool{false, true} {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			name := protocol
			if implicit {
				name += "s"
			}
			ports[name] = listener.Addr().(*net.TCPAddr).Port
			go (&server{protocol, config, implicit}).accept(listener)
		}
	}
	say(ports)
	untilStdinEnds()
	return nil
}

func (s *server) accept(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go s.serve(connection)
	}
}

type session struct {
	server     *server
	connection net.Conn
	in         *bufio.Reader
	secure     bool
	loggedIn   bool
}

func (s *server) serve(connection net.Conn) {
	defer connection.Close()
	if s.implicit {
		connection = tls.Server(connection, s.tls)
	}
	session := &session{server: s, connection: connection, in: bufio.NewReaderSize(connection, 4096), secure: s.implicit}
	switch s.protocol {
	case "smtp":
		session.smtp()
	case "imap":
		session.imap()
	case "pop3":
		session.pop3()
	}
}

func (s *session) say(text string) { io.WriteString(s.connection, text) }

func (s *session) line() (string, error) {
	line, err := s.in.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

// words are those of the next command; none where the session is over.
func (s *session) words() []string {
	line, err := s.line()
	if err != nil {
		return nil
	}
	return strings.Fields(line)
}

// startTls goes on in TLS. Commands that came in clear behind the request would be taken for protected ones: they end the session.
func (s *session) startTls() error {
	if s.in.Buffered() > 0 {
		return errors.New("commands before the handshake")
	}
	s.connection = tls.Server(s.connection, s.server.tls)
	s.in.Reset(s.connection)
	s.secure = true
	return nil
}

func (s *session) login(mechanism, response string) bool {
	s.loggedIn = isAccount(mechanism, response)
	return s.loggedIn
}

func (s *session) smtp() {
	s.say("220 bench ESMTP\r\n")
	for words := s.words(); len(words) > 0; words = s.words() {
		switch strings.ToUpper(words[0]) {
		case "EHLO":
			s.say("250-bench\r\n250-PIPELINING\r\n250-8BITMIME\r\n" + s.offer("250-STARTTLS\r\n") + "250 AUTH PLAIN XOAUTH2\r\n")
		case "STARTTLS":
			s.say("220 go ahead\r\n")
			if s.startTls() != nil {
				return
			}
		case "AUTH":
			response, ok := s.saslResponse(words[1:], "334 \r\n")
			if !ok || !s.login(words[1], response) {
				s.say("535 5.7.8 wrong login\r\n")
				return
			}
			s.say("235 2.7.0 ok\r\n")
		case "MAIL", "RCPT":
			if !s.loggedIn {
				s.say("530 5.7.0 log in first\r\n")
				continue
			}
			s.say("250 2.1.0 ok\r\n")
		case "DATA":
			s.say("354 go ahead\r\n")
			if s.skipData() != nil {
				return
			}
			s.say("250 2.0.0 taken\r\n")
		case "QUIT":
			s.say("221 2.0.0 bye\r\n")
			return
		default:
			s.say("250 ok\r\n")
		}
	}
}

// skipData reads to the final dot, without looking at lines.
func (s *session) skipData() error {
	var tail [4]byte
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.in.Read(buffer)
		if err != nil {
			return err
		}
		if n >= 5 {
			if bytes.Equal(buffer[n-5:n], []byte("\r\n.\r\n")) {
				return nil
			}
			copy(tail[:], buffer[n-4:n])
			continue
		}
		joined := append(append([]byte{}, tail[:]...), buffer[:n]...)
		if bytes.HasSuffix(joined, []byte("\r\n.\r\n")) {
			return nil
		}
		copy(tail[:], joined[len(joined)-4:])
	}
}

func (s *session) offer(capability string) string {
	if s.secure {
		return ""
	}
	return capability
}

func (s *session) saslResponse(words []string, challenge string) (string, bool) {
	if len(words) == 2 {
		return words[1], true
	}
	s.say(challenge)
	line, err := s.line()
	return line, err == nil
}

func (s *session) imap() {
	s.say("* OK bench\r\n")
	for {
		line, err := s.line()
		if err != nil {
			return
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			return
		}
		tag, done := words[0], words[0]+" OK done\r\n"
		switch strings.ToUpper(words[1]) {
		case "CAPABILITY":
			s.say("* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=XOAUTH2" + s.offer(" STARTTLS") + "\r\n" + done)
		case "STARTTLS":
			s.say(done)
			if s.startTls() != nil {
				return
			}
		case "AUTHENTICATE":
			response, ok := s.saslResponse(words[2:], "+ \r\n")
			if !ok || !s.login(words[2], response) {
				s.say(tag + " NO [AUTHENTICATIONFAILED] wrong login\r\n")
				return
			}
			s.say(done)
		case "LOGIN":
			if !s.imapLogin(line) {
				s.say(tag + " NO [AUTHENTICATIONFAILED] wrong login\r\n")
				return
			}
			s.say(done)
		case "SELECT":
			if !s.loggedIn {
				s.say(tag + " NO log in first\r\n")
				continue
			}
			s.say("* FLAGS (\\Seen)\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n" + done)
		case "FETCH":
			if words[len(words)-1] == "RFC822.TEXT" {
				s.sendBulk()
			} else {
				s.say("* 1 FETCH (BODY[] {" + strconv.Itoa(len(message)) + "}\r\n" + message + ")\r\n")
			}
			s.say(done)
		case "LOGOUT":
			s.say("* BYE bye\r\n" + done)
			return
		default:
			s.say(done)
		}
	}
}

// imapLogin takes LOGIN's arguments as atoms, quoted or as literals, which is how nginx sends them.
func (s *session) imapLogin(line string) bool {
	for strings.HasSuffix(line, "}") {
		s.say("+ \r\n")
		literal, err := s.line()
		if err != nil {
			return false
		}
		line = line[:strings.LastIndexByte(line, '{')] + literal
	}
	words := strings.Fields(strings.ReplaceAll(line, "\"", ""))
	s.loggedIn = len(words) == 4 && words[2] == user && words[3] == password
	return s.loggedIn
}

func (s *session) sendBulk() {
	s.say("* 1 FETCH (RFC822.TEXT {" + strconv.Itoa(bulkOctets) + "}\r\n")
	block := bytes.Repeat([]byte(strings.Repeat("x", 62)+"\r\n"), 1024)
	for sent := 0; sent < bulkOctets; sent += len(block) {
		if _, err := s.connection.Write(block); err != nil {
			return
		}
	}
	s.say(")\r\n")
}

func (s *session) pop3() {
	s.say("+OK bench\r\n")
	for words := s.words(); len(words) > 0; words = s.words() {
		switch strings.ToUpper(words[0]) {
		case "CAPA":
			s.say("+OK\r\nSASL PLAIN XOAUTH2\r\nPIPELINING\r\n" + s.offer("STLS\r\n") + ".\r\n")
		case "STLS":
			s.say("+OK go ahead\r\n")
			if s.startTls() != nil {
				return
			}
		case "AUTH":
			response, ok := s.saslResponse(words[1:], "+ \r\n")
			if !ok || !s.login(words[1], response) {
				s.say("-ERR [AUTH] wrong login\r\n")
				return
			}
			s.say("+OK\r\n")
		case "USER":
			if words[1] != user {
				return
			}
			s.say("+OK\r\n")
		case "PASS":
			if words[1] != password {
				s.say("-ERR [AUTH] wrong login\r\n")
				return
			}
			s.loggedIn = true
			s.say("+OK\r\n")
		case "STAT":
			if !s.loggedIn {
				s.say("-ERR log in first\r\n")
				continue
			}
			s.say("+OK 1 " + strconv.Itoa(len(message)) + "\r\n")
		case "RETR":
			s.say("+OK\r\n" + message + ".\r\n")
		case "QUIT":
			s.say("+OK bye\r\n")
			return
		default:
			s.say("+OK\r\n")
		}
	}
}
