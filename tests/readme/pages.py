"""pages - what a page of documentation holds for the reader to run or paste: code blocks, commands and tables."""

import re
import subprocess
import textwrap

# A block without a language is prose in columns unless it begins like a command or like a setting.
SHELL = re.compile(
    r"(\w+=\S* )*(\.?/?(scripts|docker|build|bench|tests)/\S+|docker|podman|kubectl|curl|grep|install|systemctl|"
    r"systemd-\S+|journalctl|openssl|sudo|cp|mv|mkdir|chmod|kill|python3|node|npm|tollgate|export|for|cat|jq|git|"
    r"apt-get)( |$)|\w+\(\)"
)
SETTING = re.compile(r"\"?[\w/-]+\"?:( |$)|- \{?\w+:")


class Block:
    """One block: its page's line, the heading it stands under, its kind (sh, yaml, json or text) and its text.

    `end`: how many lines of the page there are until it is over. The kind "output": ```text, what a command said.
    """

    def __init__(self, line, heading, kind, text, end):
        self.line, self.heading, self.kind, self.text, self.end = line, heading, kind, text, end


class Command:
    """One command as typed, and the remark behind it."""

    def __init__(self, line, heading, text):
        self.line, self.heading = line, heading
        m = re.match(r"(.*?)\s+# (.*)\Z", text, re.S)
        self.text, self.remark = (m[1], m[2]) if m else (text, "")
        self.typed = re.sub(r"\\\n\s*", "", self.text).strip()


def kind_of(text):
    first = text.split("\n", 1)[0]
    if first.startswith("{"):
        return "json"
    return "yaml" if SETTING.match(first) else "sh" if SHELL.match(first) else "text"


def blocks(page):
    """Fenced blocks, and those that are indented by four or more behind an empty line."""
    found, heading, lines, i = [], "", page.split("\n"), 0
    while i < len(lines):
        start, fence = i, re.match(r"( *)```(\w*)$", lines[i])
        if lines[i].startswith("#"):
            heading = lines[i].lstrip("# ")
        if fence:
            i = lines.index(fence[1] + "```", i + 1)
            text = textwrap.dedent("\n".join(lines[start + 1 : i]))
            kind = "output" if fence[2] == "text" else fence[2] or kind_of(text)
            found.append(Block(start + 2, heading, kind, text, i + 1))
        elif lines[i].startswith("    ") and (i == 0 or not lines[i - 1].strip()):
            while i < len(lines) and (lines[i].startswith("    ") or not lines[i].strip()):
                i += 1
            text = textwrap.dedent("\n".join(lines[start:i])).strip("\n")
            found.append(Block(start + 1, heading, kind_of(text), text, i))
            i -= 1
        i += 1
    return found


def whole(text):
    """True when a shell takes the text as it is: no open quote, brace or continuation."""
    if re.search(r"\\\Z", text):
        return False
    return subprocess.run(["sh", "-n"], input=text, text=True, stderr=subprocess.DEVNULL, check=False).returncode == 0


def commands(block):
    """The commands of a shell block, one after the other."""
    found, waiting = [], ""
    for i, line in enumerate(block.text.split("\n")):
        if not waiting and (not line.strip() or line.startswith("#")):
            continue
        waiting += ("\n" if waiting else "") + line
        if whole(waiting):
            found.append(Command(block.line + i, block.heading, waiting))
            waiting = ""
    if waiting:
        raise ValueError("line %d: no shell takes this: %s" % (block.line, waiting))
    return found


def rows(page, first):
    """The rows below the table head whose first cell is `first`, as lists of cells."""
    table = re.search(r"^\| %s \|.*\n\|[-|]+\|\n((?:\|.*\n)+)" % re.escape(first), page, re.M)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table[1].strip().split("\n")]
