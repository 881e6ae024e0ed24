"""embed - a JSON file as a C array, for a header that declares NAME and NAME_len: embed.py FILE.json NAME OUT.c"""

import json
import sys

source, name, out = sys.argv[1:]
with open(source, encoding="utf-8") as f:
    text = json.dumps(json.load(f), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
with open(out, "w", encoding="utf-8") as f:
    f.write("/*\n * %s - made by embed.py.\n */\n" % name)
    f.write('#include "%s.h"\n\nconst unsigned char %s[] = {\n' % (name, name))
    for at in range(0, len(text), 24):
        f.write("    " + ",".join(str(b) for b in text[at : at + 24]) + ",\n")
    f.write("};\nconst size_t %s_len = sizeof(%s);\n" % (name, name))
