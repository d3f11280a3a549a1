// Judges chains of certificates as the peers of a cluster do, for tests/go.rs: cases on the standard
// input, and one line for each on the standard output.
//
// A case is, all numbers of 32 bits: the moment, how many roots there are and each of them in DER
// with its length before it, the same for the chain with its leaf first, a DNS name and an address.
package main

import (
	"bufio"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func number(in io.Reader) uint32 {
	var bytes [4]byte
	if _, err := io.ReadFull(in, bytes[:]); err == io.EOF {
		os.Exit(0)
	} else if err != nil {
		panic(err)
	}
	return binary.BigEndian.Uint32(bytes[:])
}

func text(in io.Reader) []byte {
	bytes := make([]byte, number(in))
	if _, err := io.ReadFull(in, bytes); err != nil {
		panic(err)
	}
	return bytes
}

// Neither client-go's ParseCertsPEM nor crypto/tls goes on with what it cannot parse.
func all(in io.Reader) ([]*x509.Certificate, error) {
	var certificates []*x509.Certificate
	var wrong error
	for count := number(in); count > 0; count-- {
		certificate, err := x509.ParseCertificate(text(in))
		if err != nil {
			wrong = err
		}
		certificates = append(certificates, certificate)
	}
	return certificates, wrong
}

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		out.Flush()
		now := time.Unix(int64(number(in)), 0)
		roots, errRoots := all(in)
		chain, errChain := all(in)
		name, address := string(text(in)), string(text(in))
		if errRoots != nil || errChain != nil {
			fmt.Fprintf(out, "000 %v %v\n", errRoots, errChain)
			continue
		}
		trusted, intermediates := x509.NewCertPool(), x509.NewCertPool()
		for _, root := range roots {
			trusted.AddCert(root)
		}
		for _, certificate := range chain[1:] {
			intermediates.AddCert(certificate)
		}
		verdicts, words := "", ""
		for _, use := range []struct {
			name  string
			usage x509.ExtKeyUsage
		}{
			{name, x509.ExtKeyUsageServerAuth},
			{address, x509.ExtKeyUsageServerAuth},
			{"", x509.ExtKeyUsageClientAuth},
		} {
			_, err := chain[0].Verify(x509.VerifyOptions{
				DNSName:       use.name,
				Intermediates: intermediates,
				Roots:         trusted,
				CurrentTime:   now,
				KeyUsages:     []x509.ExtKeyUsage{use.usage},
			})
			if err == nil {
				verdicts += "1"
			} else {
				verdicts += "0"
				words += " | " + strings.ReplaceAll(err.Error(), "\n", " ")
			}
		}
		fmt.Fprintln(out, verdicts+words)
	}
}
