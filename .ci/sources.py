"""Rust's source files, read as far as `.ci/rooms` needs it: what is code, what is a test, and which paths are named."""

import re

COMMENT_OR_TEXT = re.compile(
    r"""
    (?P<comment> //[^\n]* | /\*.*?\*/ )
    | \b[bc]?r(?P<hashes>\#*)".*?"(?P=hashes)
    | [bc]?"(?:\\.|[^"\\])*"
    | b?'(?:\\.[^']*|[^'\\])'
    """,
    re.DOTALL | re.VERBOSE,
)
TEST = re.compile(r"#\[cfg\((?:test|loom|doctest|all\([^\]]*\b(?:doc)?test\b[^\]]*)\)\]")
USE = re.compile(r"\buse\s+([^;]+);")
PATH = re.compile(r"(?<![\w:])(?:crate|self|super|bellwire_core)(?:\s*::\s*\w+)+")
FIELD = re.compile(r"\s*(?:pub(?:\([a-z]+\))?\s+)?\w+\s*:[^:]")


class File:
    """A source file: its place, its text without comments and strings, and that text without tests (`code`)."""

    def __init__(self, root, path):
        self.name = str(path.relative_to(root))
        package, *parts = path.relative_to(root).with_suffix("").parts
        self.in_core = package == "core"
        self.module = [part for part in parts if part not in ("src", "mod", "lib")]
        self.room = package if not self.in_core else self.module[0] if self.module else "lib"
        self.source = path.read_text()
        self.text = self.code = COMMENT_OR_TEXT.sub(without, self.source)
        self.tests = [(found.start(), item_end(self.text, found.end())) for found in TEST.finditer(self.text)]
        for start, end in self.tests:
            self.code = self.code[:start] + re.sub(r"[^\n]", " ", self.code[start:end]) + self.code[end:]

    def test_files(self):
        """The modules that are tests and have files of their own: `#[cfg(test)] mod name;`."""
        for start, end in self.tests:
            for name in re.findall(r"\bmod\s+(\w+)\s*;", self.text[start:end]):
                yield self.room, *self.module, name

    def line(self, offset):
        return self.text.count("\n", 0, offset) + 1

    def lines(self):
        """How many lines there are outside of tests."""
        return self.source.count("\n") - sum(self.text.count("\n", start, end) + 1 for start, end in self.tests)

    def lines_of_code(self):
        return sum(1 for line in self.code.splitlines() if line.strip())

    def functions(self):
        """The functions outside of tests: how long each is, its line, and its name."""
        found = [(found.start(), found[1]) for found in re.finditer(r"\bfn\s+(\w+)", self.code)]
        return [(self.code.count("\n", at, item_end(self.code, at)) + 1, self.line(at), name) for at, name in found]

    def paths(self):
        """Every path into the core, from its root on, and where it is named: in a `use`, in code, in a macro."""
        uses = list(USE.finditer(self.text))
        named = [leaf for use in uses for leaf in leaves(use[1], use.start(1))]
        for found in PATH.finditer(self.text):
            if not any(use.start() < found.start() < use.end() for use in uses):
                named.append((re.findall(r"\w+", found[0]), found.start()))
        for path, offset in named:
            path = self.from_root(path, offset)
            if path:
                yield path, offset

    def from_root(self, path, offset):
        """The same path without `crate`, `self` and `super`; none if it leads into another crate or below here."""
        first, path = path[0], [name for name in path if name not in ("self", "crate", "bellwire_core")]
        if first == "bellwire_core" or first == "crate" and self.in_core:
            return path
        if first not in ("self", "super") or not self.in_core:
            return None
        here = self.module + self.inline(offset)
        while path and path[0] == "super":
            here, path = here[:-1], path[1:]
        return here + path


    def inline(self, offset):
        """The modules within the file that a place is in."""
        opened = re.finditer(r"\bmod\s+(\w+)\s*\{", self.text[:offset])
        return [found[1] for found in opened if item_end(self.text, found.start()) > offset]

    def exports(self):
        """The names that the file hands on, each with the module within the file that it is in, and their paths."""
        for use in re.finditer(r"\bpub(?:\(crate\))?\s+use\s+([^;]+);", self.text):
            for path, offset in leaves(use[1], use.start(1)):
                yield (*self.inline(offset), path[-1]), self.from_root(path, offset) or path


def without(found):
    """Blanks in place of a comment, quotation marks in place of a string."""
    return re.sub(r"[^\n]", " " if found["comment"] else '"', found[0])


def item_end(text, start):
    """Where the item ends that begins here: after its semicolon, its braces, or the comma of a field."""
    depth, field = 0, FIELD.match(text, start)
    for found in re.compile(r"[(\[{}\]);,]").finditer(text, start):
        sign = found[0]
        depth += (sign in "([{") - (sign in ")]}")
        if depth <= 0 and (sign in ";}" or sign == "," and field):
            return found.end() + text.startswith(";", found.end())
    return len(text)


def leaves(tree, offset):
    """The paths that a `use` names, and where: `a::{b, c::d}` is `a::b` and `a::c::d`."""
    path, at, opened = [], offset, [0]
    for found in re.finditer(r"\bas\s+\w+|\w+|[{},*]", tree + ","):
        sign = found[0]
        if sign == "{":
            opened.append(len(path))
        elif sign in ",}":
            if len(path) > opened[-1]:
                yield path, at
            path = path[: opened[-1]]
            if sign == "}":
                opened.pop()
                path = path[: opened[-1]]
        elif not sign.startswith("as "):
            path, at = [*path, sign], offset + found.start()
