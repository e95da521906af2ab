// Package mail writes messages to people as mail and hands each to a program
// of the site, which sends it. It knows no mail server, and tries nothing
// twice.
package mail

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"time"
	"unicode"
)

// A Message is what one person is told.
type Message struct {
	Login   string // whom it is for
	Subject string
	Text    string // one paragraph
}

// Bytes returns the message as RFC 5322 writes mail, with the line ends that
// sendmail reads. It is from root at host, and so is its recipient, unless
// their login name has a host. Control characters of the message are left out.
func (m Message) Bytes(host string, now time.Time) []byte {
	var b strings.Builder
	header := func(key, value string) { fmt.Fprintf(&b, "%s: %s\n", key, value) }
	header("From", (&mail.Address{Name: "ds01 on " + host, Address: "root@" + host}).String())
	header("To", (&mail.Address{Address: addressOf(m.Login, host)}).String())
	header("Subject", mime.QEncoding.Encode("utf-8", line(m.Subject)))
	header("Date", now.Format(time.RFC1123Z))
	header("Message-ID", "<"+newID()+"@"+host+">")
	header("Auto-Submitted", "auto-generated") // RFC 3834: nobody's absence answers it
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "8bit")
	b.WriteString("\n" + wrap(line(m.Text)) + "\n")
	return []byte(b.String())
}

func addressOf(login, host string) string {
	if strings.Contains(login, "@") {
		return login
	}
	return login + "@" + host
}

func newID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // it never fails
	return hex.EncodeToString(id)
}

// line leaves out what would begin another line or header.
func line(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}

// width is how long a line may be, by RFC 5322.
const width = 78

// wrap breaks a paragraph between words. No line is a lone dot, which would end
// the message for some programs.
func wrap(text string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width && word != ".":
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
