package redteam

import (
	"strings"
)

// one is a vector of one step.
func one(id, says string, step Step, topics ...int) Vector {
	return Vector{ID: id, Topics: topics, Says: says, Steps: []Step{step}}
}

func several(id, says string, steps []Step, topics ...int) Vector {
	return Vector{ID: id, Topics: topics, Says: says, Steps: steps}
}

// inLab marks vectors that would harm a host whose gateway is broken.
func inLab(why string, all ...Vector) []Vector {
	for i := range all {
		all[i].LabOnly = why
	}
	return all
}

func get(path string, status []int) Step { return Step{Method: "GET", Path: path, Status: status} }

func post(path, body string, status []int) Step {
	return Step{Method: "POST", Path: path, Body: body, Status: status}
}

// begin starts a command and stays until it has ended.
func begin(exec, body string, status []int) Step {
	return Step{Method: "POST", Path: "/exec/" + exec + "/start", Body: body, Status: status, Stays: true}
}

func remove(path string, status []int) Step {
	return Step{Method: "DELETE", Path: path, Status: status}
}

// with returns the step with further headers.
func (s Step) with(headers ...string) Step {
	s.Headers = append(append([]string{}, s.Headers...), headers...)
	return s
}

// body is a create request: the payload in an image that is there, marked,
// and what is tried beside it.
func body(fields ...string) string {
	return `{"Image":"{image}","Cmd":["sh","-c","{payload}"],"Labels":{"{mark}":"1"}` + join(fields) + `}`
}

// hosted is one whose HostConfig holds what is tried.
func hosted(fields ...string) string {
	return body(`"HostConfig":{` + strings.Join(fields, ",") + `}`)
}

func join(fields []string) string {
	if len(fields) == 0 {
		return ""
	}
	return "," + strings.Join(fields, ",")
}

// create asks for a container under a marked name and runs it if it is made.
func create(body string, status []int) Step {
	return Step{Method: "POST", Path: "/containers/create?name={mark}-x", Body: body, Status: status, Run: true, Message: "ds01: "}
}

// tries makes one vector for each of a list of host settings.
func tries(prefix string, status []int, rows ...try) []Vector {
	all := make([]Vector, len(rows))
	for i, r := range rows {
		s := status
		if r.status != nil {
			s = r.status
		}
		text := hosted(r.fields)
		if r.top {
			text = body(r.fields)
		}
		all[i] = one(prefix+"-"+r.id, r.says, create(text, s), r.topics...)
	}
	return all
}

type try struct {
	id, says, fields string
	topics           []int
	status           []int // nil: the list's
	top              bool  // fields stand beside HostConfig, not in it
}

func on(topics ...int) []int { return topics }

// raw is a request written by hand.
func raw(text string, status []int) Step { return Step{Raw: text, Status: status} }

// byHand writes a request with a body of its right length.
func byHand(method, path string, headers []string, body string) string {
	lines := append([]string{method + " " + path + " HTTP/1.1", "Host: docker"}, headers...)
	if body != "" {
		lines = append(lines, "Content-Length: "+lengthMark) // counted when it is filled in
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

// Marks of a chunk's data in a raw request, whose length Fill writes.
const chunkStart, chunkEnd = "\x01", "\x02"

// chunk is text as one chunk with an extension, and the end of chunks.
func chunk(text string) string { return chunkStart + text + chunkEnd }
