package roles

import (
	"io"
	"runtime"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/internal/printable"
)

func logFlags() []cli.Flag {
	return []cli.Flag{
		choiceFlagDefault("log-level", "least level that is logged", "info", "debug", "info", "warn", "error"),
		choiceFlag("log-format", "form of the log lines on stderr", "text", "json"),
	}
}

func choiceFlagDefault(name, usage, value string, choices ...string) *cli.GenericFlag {
	f := choiceFlag(name, usage, choices...)
	f.Value = &choiceValue{value, choices}
	return f
}

// logLimit is how many bytes of log lines may wait for stderr. Those beyond are dropped and counted: no role waits for
// a reader of its log.
const logLimit = 1 << 20

// newLog makes the log of a role, on w.
func newLog(c *cli.Context, w io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	if level, err := logrus.ParseLevel(choiceOf(c, "log-level")); err == nil { // always: the flag has checked it
		log.SetLevel(level)
	}
	const stamp = "2006-01-02T15:04:05.000Z07:00"
	if choiceOf(c, "log-format") == "json" {
		log.SetFormatter(&logrus.JSONFormatter{TimestampFormat: stamp})
	} else {
		log.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, TimestampFormat: stamp, ForceColors: isTerminal(w) && runtime.GOOS != "windows"})
	}
	log.SetFormatter(&safeFormatter{log.Formatter})
	if q, ok := w.(*queuedWriter); ok {
		q.setNote(func(dropped uint64) []byte {
			e := log.WithField("lines", dropped)
			e.Time, e.Level, e.Message = time.Now(), logrus.WarnLevel, "log lines dropped: stderr was not read"
			line, _ := log.Formatter.Format(e)
			return line
		})
	}
	return log
}

// longestField is how many columns of a field are logged. Names, reasons and errors of the other side are in some.
const longestField = 1000

// safeFormatter makes lines of text from other parties safe to print. logrus does that with the fields of a line of
// text, but neither with the message of a coloured one, nor with what JSON does not escape.
type safeFormatter struct{ logrus.Formatter }

// Format leaves the entry as it is: it may be logged again.
func (f *safeFormatter) Format(e *logrus.Entry) ([]byte, error) {
	safe := *e
	safe.Message = printable.Text(e.Message)
	safe.Data = make(logrus.Fields, len(e.Data))
	for name, v := range e.Data {
		switch text := v.(type) {
		case string:
			v = printable.Cut(text, longestField)
		case error:
			v = printable.Cut(text.Error(), longestField)
		}
		safe.Data[name] = v
	}
	line, err := f.Formatter.Format(&safe)
	return printable.JSON(line), err
}

// drainFlag is how long a role may take to say good-bye.
func drainFlag() cli.Flag {
	return durationFlag("drain", "at the end, time to tell the other side and to send what waits", 5*time.Second, 0, 10*time.Minute)
}
