package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// How long after the message the final dot is sent with --late-dot.
const lateDot = 2 * time.Millisecond

// app is an application: whom it talks to and how.
type app struct {
	protocol string
	address  string
	// "": it sends no login. "PLAIN" or "XOAUTH2": it logs in itself. "redundant": a login that means nothing.
	login string
	// "", "implicit" or "starttls".
	security string
	tls      *tls.Config
	// It says EHLO although it does not log in, as mail libraries do. SAP's own examples begin with MAIL.
	hello bool
	// The final dot of DATA in a write of its own, as several libraries send it.
	lateDot bool
}

// parse reads the app's flags, and those that `flags` has already.
func (a *app) parse(flags *flag.FlagSet, arguments []string) error {
	flags.StringVar(&a.protocol, "protocol", "smtp", "smtp, imap or pop3")
	flags.StringVar(&a.address, "address", "", "host:port")
	flags.StringVar(&a.login, "login", "", "PLAIN, XOAUTH2 or none")
	flags.StringVar(&a.security, "security", "", "implicit, starttls or none")
	flags.BoolVar(&a.hello, "hello", false, "SMTP: EHLO without a login")
	flags.BoolVar(&a.lateDot, "late-dot", false, "SMTP: the final dot in a write of its own")
	ca := flags.String("ca", "", "PEM file; the certificate's name is localhost")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if a.security == "" {
		return nil
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	// As applications that keep a pool do: sessions are resumed.
	a.tls = &tls.Config{RootCAs: roots, ServerName: "localhost", ClientSessionCache: tls.NewLRUClientSessionCache(256)}
	return nil
}

// dialogue is one session of an application.
type dialogue struct {
	app        *app
	connection net.Conn
	in         *bufio.Reader
	tag        int
}

// run is one whole session: login, a small message, the end.
func (a *app) run() error {
	d, err := a.open()
	if err != nil {
		return err
	}
	defer d.connection.Close()
	if err := d.mail(); err != nil {
		return err
	}
	return d.end()
}

// open gets as far as the login, where the app logs in.
func (a *app) open() (*dialogue, error) {
	connection, err := net.Dial("tcp", a.address)
	if err != nil {
		return nil, err
	}
	if a.security == "implicit" {
		connection = tls.Client(connection, a.tls)
	}
	d := &dialogue{app: a, connection: connection, in: bufio.NewReaderSize(connection, 4096)}
	if err := d.begin(); err != nil {
		connection.Close()
		return nil, err
	}
	return d, nil
}

func (d *dialogue) startTls() {
	d.connection = tls.Client(d.connection, d.app.tls)
	d.in.Reset(d.connection)
}

func (d *dialogue) begin() error {
	switch d.app.protocol {
	case "smtp":
		return d.beginSmtp()
	case "imap":
		return d.beginImap()
	default:
		return d.beginPop3()
	}
}

func (d *dialogue) initialResponse() string {
	if d.app.login == "XOAUTH2" {
		return saslXoauth2
	}
	return saslPlain
}

func (d *dialogue) beginSmtp() error {
	if err := d.smtp("", "220"); err != nil {
		return err
	}
	if d.app.login == "" && !d.app.hello {
		return nil
	}
	if d.app.login == "" {
		return d.smtp("EHLO app\r\n", "250")
	}
	if d.app.security == "starttls" {
		if err := d.smtp("EHLO app\r\n", "250"); err != nil {
			return err
		}
		if err := d.smtp("STARTTLS\r\n", "220"); err != nil {
			return err
		}
		d.startTls()
	}
	if err := d.smtp("EHLO app\r\n", "250"); err != nil {
		return err
	}
	return d.smtp("AUTH "+d.app.login+" "+d.initialResponse()+"\r\n", "235")
}

func (d *dialogue) beginImap() error {
	if _, err := d.line("* OK"); err != nil {
		return err
	}
	if d.app.login == "" {
		return nil
	}
	if d.app.security == "starttls" {
		if err := d.imap("STARTTLS"); err != nil {
			return err
		}
		d.startTls()
	}
	// The greeting has no capabilities, as Exchange Online's has none: SASL-IR must be asked for.
	if err := d.imap("CAPABILITY"); err != nil {
		return err
	}
	return d.imap("AUTHENTICATE " + d.app.login + " " + d.initialResponse())
}

func (d *dialogue) beginPop3() error {
	if _, err := d.line("+OK"); err != nil {
		return err
	}
	if d.app.login == "" {
		return nil
	}
	if d.app.security == "starttls" {
		if err := d.pop3("STLS\r\n", false); err != nil {
			return err
		}
		d.startTls()
	}
	if err := d.pop3("CAPA\r\n", true); err != nil {
		return err
	}
	return d.pop3("AUTH "+d.app.login+" "+d.initialResponse()+"\r\n", false)
}

// mail sends the small message, or reads it.
func (d *dialogue) mail() error {
	switch d.app.protocol {
	case "smtp":
		if err := d.envelope(); err != nil {
			return err
		}
		if !d.app.lateDot {
			return d.smtp(message+".\r\n", "250")
		}
		if _, err := io.WriteString(d.connection, message); err != nil {
			return err
		}
		// Until a proxy has passed the message on: what it still has then, it sends together with the dot.
		time.Sleep(lateDot)
		return d.smtp(".\r\n", "250")
	case "imap":
		if err := d.imap("SELECT INBOX"); err != nil {
			return err
		}
		return d.imap("FETCH 1 BODY[]")
	default:
		if err := d.pop3("STAT\r\n", false); err != nil {
			return err
		}
		return d.pop3("RETR 1\r\n", true)
	}
}

func (d *dialogue) envelope() error {
	if err := d.smtp("MAIL FROM:<app@example.org>\r\n", "250"); err != nil {
		return err
	}
	if err := d.smtp("RCPT TO:<you@example.org>\r\n", "250"); err != nil {
		return err
	}
	return d.smtp("DATA\r\n", "354")
}

func (d *dialogue) end() error {
	switch d.app.protocol {
	case "smtp":
		return d.smtp("QUIT\r\n", "221")
	case "imap":
		return d.imap("LOGOUT")
	default:
		return d.pop3("QUIT\r\n", false)
	}
}

func (d *dialogue) line(start string) (string, error) {
	line, err := d.in.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s, awaited: %s", err, start)
	}
	if !strings.HasPrefix(line, start) {
		return "", fmt.Errorf("%q, awaited: %s", line, start)
	}
	return line, nil
}

// smtp says a command and reads its reply, of all lines.
func (d *dialogue) smtp(command, code string) error {
	if command != "" {
		if _, err := io.WriteString(d.connection, command); err != nil {
			return err
		}
	}
	for {
		line, err := d.line(code)
		if err != nil || line[3] != '-' {
			return err
		}
	}
}

// imap says a command and reads to its tagged response.
func (d *dialogue) imap(command string) error {
	d.tag++
	tag := "a" + strconv.Itoa(d.tag)
	if _, err := io.WriteString(d.connection, tag+" "+command+"\r\n"); err != nil {
		return err
	}
	for {
		line, err := d.line("")
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, tag+" ") {
			if !strings.HasPrefix(line, tag+" OK") {
				return fmt.Errorf("%s: %q", command[:6], line)
			}
			return nil
		}
		if open := strings.LastIndexByte(line, '{'); open >= 0 && strings.HasSuffix(line, "}\r\n") {
			octets, _ := strconv.Atoi(line[open+1 : len(line)-3])
			if _, err := d.in.Discard(octets); err != nil {
				return err
			}
		}
	}
}

func (d *dialogue) pop3(command string, multiline bool) error {
	if _, err := io.WriteString(d.connection, command); err != nil {
		return err
	}
	if _, err := d.line("+OK"); err != nil || !multiline {
		return err
	}
	for {
		line, err := d.in.ReadSlice('\n')
		if err != nil || string(line) == ".\r\n" {
			return err
		}
	}
}
