package takeover

import "fmt"

// String says what a step does, in a line.
func (s Step) String() string {
	said := s.does()
	if s.Why != "" {
		said += " (" + s.Why + ")"
	}
	return said
}

func (s Step) does() string {
	switch s.Do {
	case Put:
		return s.puts()
	case RemoveDir:
		return "remove the folder " + s.Path + ", if it is empty"
	case AddGroup:
		return "make the group " + s.Group
	case DropGroup:
		return "remove the group " + s.Group
	case Join:
		return "put " + s.User + " into the group " + s.Group
	case Leave:
		return "take " + s.User + " out of the group " + s.Group
	case Settle:
		return "put the files of groups back, where they say the same as before"
	case ReadUnits:
		return "systemctl daemon-reload"
	case Start, Stop, Reload:
		return "systemctl " + string(s.Do) + " " + s.Unit
	case CheckLive:
		return "see that the engine lets containers run on while it restarts"
	case CheckMoved:
		return "see that the engine answers at " + s.Path + ", and that what ran runs"
	case CheckDs01:
		return "see that 'ds01 doctor' finds nothing that fails"
	case AddUser:
		return "make the user " + s.User
	case DropUser:
		return "remove the user " + s.User
	case SettleUsers:
		return "put the files of accounts back, where they say the same as before"
	case CheckEmpty:
		return "see that the engine has no container"
	case CheckRemapped:
		return "see that the engine answers at " + s.Path + ", and remaps user namespaces"
	case CheckPlain:
		return "see that the engine answers at " + s.Path + ", and doesn't remap user namespaces"
	case TidyNetworks:
		return "remove networks that ds01 has made in this folder before"
	case GiveVolumes:
		return "give volumes that are in this folder from before back to their owners"
	case CopyImages:
		return s.copies()
	case CheckRun:
		return "see that " + s.User + " gets a container through ds01, and nothing at the engine's own socket"
	}
	return string(s.Do)
}

func (s Step) copies() string {
	if len(s.Images) == 0 {
		return "copy the images that aren't in the engine's new folder yet"
	}
	return fmt.Sprintf("copy %d images to the engine's new folder", len(s.Images))
}

func (s Step) puts() string {
	switch {
	case s.Then.Kind == Absent:
		return "remove " + s.Path
	case s.Then.Kind == Symlink:
		return fmt.Sprintf("link %s to %s", s.Path, s.Then.Target)
	case s.Now.Kind == Absent:
		return "write " + s.Path
	}
	return "change " + s.Path
}
