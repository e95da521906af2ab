package limits

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Hours are a time of the week in which idle containers are given another time
// than idle_timeout says.
type Hours struct {
	Days     [7]bool // by time.Weekday: those that it begins on
	From, To int     // minutes from midnight; a To that isn't later is on the next day
	Factor   float64 // of idle_timeout
	Leave    bool    // idle containers are left alone
}

const dayLength = 24 * 60 // minutes

// Contains reports whether a moment lies in the hours, by the clock on the wall
// of its zone.
func (h Hours) Contains(local time.Time) bool {
	today, minute := int(local.Weekday()), local.Hour()*60+local.Minute()
	if h.From < h.To {
		return h.Days[today] && h.From <= minute && minute < h.To
	}
	return h.Days[today] && h.From <= minute || h.Days[(today+6)%7] && minute < h.To
}

// String returns the hours as people read them: "sat sun", "mon 20:00-08:00".
func (h Hours) String() string {
	var words []string
	for i := range h.Days {
		if day := (i + 1) % 7; h.Days[day] { // a week begins on Monday
			words = append(words, dayNames()[day])
		}
	}
	if h.From != 0 || h.To != 0 {
		words = append(words, fmt.Sprintf("%s-%s", clock(h.From), clock(h.To)))
	}
	return strings.Join(words, " ")
}

func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

// dayNames are by time.Weekday.
func dayNames() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

func formatCalendar(all []Hours) string {
	if len(all) == 0 {
		return "none"
	}
	texts := make([]string, len(all))
	for i, h := range all {
		factor := "idle left alone"
		if !h.Leave {
			factor = "idle_timeout ×" + strconv.FormatFloat(h.Factor, 'g', -1, 64)
		}
		texts[i] = h.String() + ": " + factor
	}
	return strings.Join(texts, "; ")
}

// calendar reads a list of hours.
func (r *ruleDecoder) calendar(s *setting, value *yaml.Node) error {
	if isNull(value) {
		return nil
	}
	if value.Kind != yaml.SequenceNode {
		return fmt.Errorf("it holds %s where a list belongs, such as [{days: sat-sun, idle_factor: 2}]", shape(value))
	}
	for i, entry := range value.Content {
		where := fmt.Sprintf("%s.policies.calendar[%d]", r.rule, i)
		s.hours = append(s.hours, r.hours(entry, strings.Replace(where, "policies.policies.", "policies.", 1)))
	}
	return nil
}

func (r *ruleDecoder) hours(n *yaml.Node, where string) Hours {
	var h Hours
	days, factor := false, false
	r.mapping(n, where, func(key, value *yaml.Node) {
		var err error
		switch key.Value {
		case "days":
			days = true
			h.Days, err = parseDays(value.Value)
		case "hours":
			h.From, h.To, err = parseHours(value.Value)
		case "idle_factor":
			factor = true
			h.Factor, h.Leave, err = parseFactor(value)
		default:
			r.unknown(key, where, []string{"days", "hours", "idle_factor"})
		}
		if err != nil {
			r.fail(value.Line, "%s.%s: %v", where, key.Value, err)
		}
	})
	if !days || !factor {
		r.fail(n.Line, "%s needs days and idle_factor, such as {days: mon-fri, hours: \"20:00-08:00\", idle_factor: 2}", where)
	}
	return h
}

// parseDays reads "sat-sun" and "mon,wed".
func parseDays(text string) (days [7]bool, err error) {
	for part := range strings.SplitSeq(strings.ToLower(text), ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from := slices.Index(dayNames(), first)
		to := from
		if isRange {
			to = slices.Index(dayNames(), last)
		}
		if from < 0 || to < 0 {
			return days, fmt.Errorf("%q are no days, such as mon-fri or sat,sun", text)
		}
		for day := from; ; day = (day + 1) % 7 {
			days[day] = true
			if day == to {
				break
			}
		}
	}
	return days, nil
}

// parseHours reads "20:00-08:00".
func parseHours(text string) (from, to int, err error) {
	a, b, ok := strings.Cut(text, "-")
	if from, err = parseClock(a); err == nil {
		to, err = parseClock(b)
	}
	if !ok || err != nil || from == to {
		return 0, 0, fmt.Errorf("%q are no hours, such as \"20:00-08:00\"", text)
	}
	return from, to % dayLength, nil
}

func parseClock(text string) (int, error) {
	if text = strings.TrimSpace(text); text == "24:00" {
		return dayLength, nil
	}
	t, err := time.Parse("15:04", text)
	return t.Hour()*60 + t.Minute(), err
}

const mostFactor = 1000

func parseFactor(n *yaml.Node) (factor float64, leave bool, err error) {
	if isNull(n) {
		return 0, true, nil
	}
	factor, err = strconv.ParseFloat(n.Value, 64)
	if err != nil || !(factor > 0 && factor <= mostFactor) {
		return 0, false, errors.New("it is a number above 0 and up to 1000, or null: idle containers are left alone")
	}
	return factor, false, nil
}
