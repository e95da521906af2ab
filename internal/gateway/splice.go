package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// The engine's lists are long and little of them is ours to change, so they
// are edited as text: decoding two hundred containers takes longer than the
// engine takes to list them. What the engine writes is JSON without fail; the
// functions here find where values end and check no more than that takes.

var errCutOff = errors.New("the engine's JSON is cut off")

// editString appends a string to out as edit returns it.
func editString(out, value []byte, edit func(string) string) ([]byte, error) {
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return out, fmt.Errorf("%s is no string: %w", value, err)
	}
	return jsontext.AppendQuote(out, edit(string(text)))
}

// editArray appends an array to out. edit gets each element and appends it,
// changed or not, or appends nothing to leave it out. A null stays one.
func editArray(out, array []byte, edit func(out, element []byte) ([]byte, error)) ([]byte, error) {
	return editElements(out, array, valueEnd, edit)
}

// editElements is editArray with another way to find where elements end.
func editElements(out, array []byte, elementEnd func(array []byte, i int) int, edit func(out, element []byte) ([]byte, error)) ([]byte, error) {
	i := skip(array, 0, " \t\r\n")
	if i >= len(array) || array[i] != '[' {
		if string(bytes.TrimSpace(array)) == "null" {
			return append(out, "null"...), nil
		}
		return out, errCutOff
	}
	out = append(out, '[')
	first := len(out)
	for i++; ; {
		if i = skip(array, i, " \t\r\n,"); i >= len(array) {
			return out, errCutOff
		}
		if array[i] == ']' {
			return append(out, ']'), nil
		}
		end := elementEnd(array, i)
		if end < 0 {
			return out, errCutOff
		}
		before := len(out)
		if before > first {
			out = append(out, ',')
		}
		edited, err := edit(out, array[i:end])
		if err != nil {
			return out, err
		}
		if len(edited) == len(out) {
			edited = edited[:before] // it was left out, and so is the comma
		}
		out, i = edited, end
	}
}

// editObject appends an object to out. edit gets the members of these keys and
// appends their values, changed or not. Nothing is looked at behind the last
// of them.
func editObject(out, object []byte, keys []string, edit func(out []byte, key string, value []byte) ([]byte, error)) ([]byte, error) {
	from, left := 0, len(keys)
	err := members(object, func(key, value []byte, at int) (bool, error) {
		i := slices.IndexFunc(keys, func(k string) bool { return k == string(key) })
		if i < 0 {
			return true, nil
		}
		edited, err := edit(append(out, object[from:at]...), keys[i], value)
		out, from = edited, at+len(value)
		left--
		return left > 0 && err == nil, err
	})
	return append(out, object[from:]...), err
}

// member returns the value of a key of an object, nil if it has none.
func member(object []byte, name string) (value []byte, err error) {
	err = members(object, func(key, v []byte, _ int) (bool, error) {
		if string(key) == name {
			value = v
		}
		return value == nil, nil
	})
	return value, err
}

// members calls visit with each member of an object, its key without quotes,
// its value and where the value begins, until visit says no.
func members(object []byte, visit func(key, value []byte, at int) (more bool, err error)) error {
	i := skip(object, 0, " \t\r\n")
	if i >= len(object) || object[i] != '{' {
		return errCutOff
	}
	for i++; ; {
		if i = skip(object, i, " \t\r\n,"); i >= len(object) {
			return errCutOff
		}
		if object[i] == '}' {
			return nil
		}
		keyEnd := valueEnd(object, i)
		if keyEnd < 0 || object[i] != '"' {
			return errCutOff
		}
		at := skip(object, keyEnd, " \t\r\n:")
		end := valueEnd(object, at)
		if end < 0 {
			return errCutOff
		}
		more, err := visit(object[i+1:keyEnd-1], object[at:end], at)
		if err != nil || !more {
			return err
		}
		i = end
	}
}

func skip(data []byte, i int, what string) int {
	for i < len(data) && strings.IndexByte(what, data[i]) >= 0 {
		i++
	}
	return i
}

// valueEnd returns where the value that begins at i ends, -1 if it doesn't.
func valueEnd(data []byte, i int) int {
	if i >= len(data) {
		return -1
	}
	switch data[i] {
	case '"':
		return stringEnd(data, i)
	case '{', '[':
		return nestedEnd(data, i)
	}
	from := i // a number or a word
	for i < len(data) && strings.IndexByte(" \t\r\n,:[]{}\"", data[i]) < 0 {
		i++
	}
	if i == from {
		return -1
	}
	return i
}

func nestedEnd(data []byte, i int) int {
	for depth := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			if i = stringEnd(data, i) - 1; i < 0 {
				return -1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// stringEnd returns where the string that begins at i ends, -1 if it doesn't. Most are
// so short that to look for their ends in another way takes longer.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}
