package config

import (
	"os"
)

// Load reads the file at path, or, when path is empty, the first that exists of /etc/mairust/config.yaml,
// ~/.config/mairust/config.yaml and ./config.yaml, or else the embedded defaults. Secrets are resolved and the
// whole is checked (see Check). Whatever is wrong inside the file comes back as Findings; other errors say that
// it could not be read. The Source is right even when there is an error.
func Load(path string) (*Config, Source, error) {
	src, data, err := readSource(path)
	if err != nil {
		return nil, src, err
	}
	c, src, err := parse(src, data, os.Geteuid() == 0)
	if err != nil {
		return nil, src, err
	}
	return c, src, nil
}

// parse makes a checked configuration of the bytes of src.
func parse(src Source, data []byte, root bool) (*Config, Source, error) {
	c := fixedDefaults()
	src.positions = map[string]position{}
	d := decoder{src: src}
	d.document(data, c)
	c.derive(root)
	c.keepKeyFiles()
	d.findings = append(d.findings, c.resolveSecrets(src)...)
	for _, f := range c.check(src) {
		if !d.findings.covers(f.Key) {
			d.findings = append(d.findings, f)
		}
	}
	if err := d.findings.err(); err != nil {
		return nil, src, err
	}
	return c, src, nil
}
