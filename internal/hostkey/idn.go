package hostkey

import "strings"

// asciiHost writes each label of an internationalised host name in the form in
// which it is looked up (RFC 3492 behind "xn--"), so that both spellings share
// one key. It folds case and the dots of RFC 3490, section 3.1, and leaves
// Unicode normalisation out: two normal forms would merely be two keys.
func asciiHost(host string) string {
	if isASCII(host) {
		return host
	}
	// Bounded first: the scan below takes quadratic time, and a server's
	// redirect can name a host of megabytes.
	host = Bounded(host)
	host = strings.NewReplacer("\u3002", ".", "\uff0e", ".", "\uff61", ".").Replace(host)
	labels := strings.Split(strings.ToValidUTF8(host, "\ufffd"), ".")
	for i, label := range labels {
		if !isASCII(label) {
			labels[i] = "xn--" + punycode([]rune(label))
		}
	}
	return strings.Join(labels, ".")
}

// punycode is the encoder of RFC 3492, section 6.3, with its parameters of
// section 5. Its quadratic scan does not matter for labels that are short.
func punycode(label []rune) string {
	const base, tmin, tmax, skew, damp, initialBias, initialN = 36, 1, 26, 38, 700, 72, 128
	const digits = "abcdefghijklmnopqrstuvwxyz0123456789"

	var out strings.Builder
	for _, r := range label {
		if r < initialN {
			out.WriteRune(r)
		}
	}
	basic := out.Len()
	if basic > 0 {
		out.WriteByte('-')
	}

	n, delta, bias := rune(initialN), 0, initialBias
	for done := basic; done < len(label); n, delta = n+1, delta+1 {
		next := rune(0x10ffff + 1)
		for _, r := range label {
			if r >= n {
				next = min(next, r)
			}
		}
		delta += int(next-n) * (done + 1)
		n = next
		for _, r := range label {
			if r < n {
				delta++
			}
			if r != n {
				continue
			}
			q := delta
			for k := base; ; k += base {
				t := min(max(k-bias, tmin), tmax)
				if q < t {
					break
				}
				out.WriteByte(digits[t+(q-t)%(base-t)])
				q = (q - t) / (base - t)
			}
			out.WriteByte(digits[q])
			// Adapt the bias (section 6.1).
			if done == basic {
				delta /= damp
			} else {
				delta /= 2
			}
			delta += delta / (done + 1)
			k := 0
			for ; delta > (base-tmin)*tmax/2; k += base {
				delta /= base - tmin
			}
			bias = k + (base-tmin+1)*delta/(delta+skew)
			delta = 0
			done++
		}
	}
	return out.String()
}
