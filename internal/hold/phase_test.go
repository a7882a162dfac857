package hold

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestPhase_AsTextReturnsItself(t *testing.T) {
	for _, phase := range Phases {
		text, err := phase.MarshalText()
		var got Phase
		if err2 := got.UnmarshalText(text); err != nil || err2 != nil || got != phase {
			t.Errorf("%v as text is %q, and that is %v (%v, %v)", phase, text, got, err, err2)
		}
	}
}

func TestPhase_UnknownTextIsAnError(t *testing.T) {
	for _, text := range []string{"", "7", "HELD", "phase(7)"} {
		phase := Held
		if err := phase.UnmarshalText([]byte(text)); err == nil || phase != Held {
			t.Errorf("%q is read as %v", text, phase)
		}
	}
}

// A store that keeps records as JSON must lose nothing of them.
func TestRecord_AsJSONLosesNothing(t *testing.T) {
	var r Record
	fill(reflect.ValueOf(&r).Elem(), new(int64))
	r.Phase = Paced
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var got Record
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v\nas JSON is %s\nwhich is %+v (%v)", r, b, got, err)
	}
}

// fill sets every field to a value of its own.
func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(field, n)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]uint64{"a": 1, "b": 1 << 63}))
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(float64(*n) / 7)
	case reflect.Uint64:
		v.SetUint(1<<63 + uint64(*n))
	case reflect.Int, reflect.Int64:
		v.SetInt(1<<52 + *n)
	default:
		panic(v.Kind())
	}
}
