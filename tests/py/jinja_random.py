"""Random templates of the constructs that chat templates use, and the variables they see.

A seed gives the same template on every machine. What no template does is left out: slices of
literal numbers (jinja2 answers them at compile time), arguments of wrong types to filters.
"""

import random

VARIABLES = {
    "a": 1, "b": -7, "f": 2.5, "big": 10**15, "s": "Hello wörld", "t": "  two  words ", "e": "",
    "n": None, "y": True, "no": False, "l": [3, 1, 2], "m": ["b", "A", "c", ""],
    "d": {"k": 1, "b": "x", "A": [1, 2]}, "u": "é😀ß", "q": "<a href='x'>&\"</a>",
    "r": [{"n": "bo", "v": 2}, {"n": "Al", "v": 1, "w": None}, {"n": "cy", "v": 2}],
    "x": [1, "1", 1.0, True, None, [1], {"q": 2}],
}
NAMES = "a b f s t e n y no l m d r x u q missing".split()
SLICED = "a b f s t e n y l m d r x u missing".split()
LITERALS = ["1", "0", "-3", "2.5", "10", "'ab'", '"c d"', "'é'", "''", "[]", "{}", "[1,2,'x']",
            "{'k':1,'z':[2]}", "(1,2)", "true", "False", "none", "None", "'a,b,,c'", "'%s-%d'",
            "big", "1e3", "'7'", "'0x1f'", "' 12 '"]
OPERATORS = "+ - * / // % ** ~ ~ == != < > <= >= in and or".split() + ["not in"]
FILTERS = """upper lower capitalize title trim trim('a_') string length count list first last
reverse|list join join(',') join('-',attribute='n') items|list dictsort dictsort(true)
dictsort(by='value') dictsort(reverse=true) sort sort(reverse=true) sort(attribute='v')
sort(attribute='v,n') sort(case_sensitive=true) unique|list unique(attribute='v')|list min max
min(attribute='v') max(attribute='v') sum sum(attribute='v') sum(start=5) groupby('v')|list
groupby('w',default=0)|list batch(2)|list batch(2,'z')|list slice(2)|list slice(2,'z')|list
map('upper')|list map(attribute='n')|list map(attribute='w',default='d')|list map('int')|list
map('default','x')|list select|list select('odd')|list select('string')|list
select('equalto',1)|list reject|list reject('none')|list selectattr('v')|list
selectattr('w')|list selectattr('v','equalto',2)|list selectattr('n','in',['bo'])|list
rejectattr('v','eq',2)|list rejectattr('w','defined')|list attr('k') safe escape e forceescape
replace('l','L') replace('l','L',1) replace('','-') indent indent(2,true) indent('>>')
indent(2,first=true,blank=true) wordcount center(20) tojson tojson(indent=2)
tojson(ensure_ascii=true) tojson(sort_keys=true) tojson(separators=(',',':')) from_json int int(7)
float float(1.5) abs round round(1) round(0,'floor') round(1,'ceil') format('x',3) default('D')
default('D',true) d(0) default(boolean=true)""".split()
TESTS = """defined undefined none boolean true false integer float number string mapping iterable
sequence callable odd even divisibleby(2) divisibleby_3 sameas_none sameas_true eq(1) equalto('x')
ne_1 lt_2 gt(1) ge_1 le_1 in_[1,'x'] in(s) lower upper escaped""".split()
METHODS = """upper() lower() capitalize() title() swapcase() casefold() strip() strip('_o')
lstrip() rstrip('d') split() split(',') split('_',1) rsplit('_',1) rsplit(None,1) splitlines()
splitlines(true) replace('l','1') replace('l','1',1) join(['a','b']) join(m) startswith('H')
startswith(('H','x')) endswith('d') startswith('e',1) find('o') rfind('o') index('l') rindex('l')
count('l') count('l',3) isalpha() isdigit() isdecimal() isnumeric() isalnum() isspace() islower()
isupper() center(20,'*') ljust(20) rjust(20,'.') zfill(6) partition('_') rpartition('_')
removeprefix('He') removesuffix('ld') expandtabs() format(1,'b') get('k') get('zz') get('zz','D')
keys()|list values()|list items()|list copy() count(1) index(1) append(1) pop()
update({})""".split()
LOOPED = ["l", "m", "r", "d", "s", "x", "range(3)", "d.items()", "[]", "n", "missing",
          "r|selectattr('v')"]
IN_LOOP = ["{{ i }}", "{{ loop.index }}{{ loop.last }}", "{{ loop.index0 }},{{ loop.revindex }}",
           "{{ loop.previtem }}|{{ loop.nextitem }}", "{{ loop.cycle('o','e') }}",
           "{{ loop.length }}", "{{ loop.changed(i) }}",
           "{% if loop.index == 2 %}{% break %}{% endif %}",
           "{% if loop.first %}{% continue %}{% endif %}x"]
CALLS = ["", "1", "1,2", "q=3", "1,2,3", "p='x'", "z=1"]


class Writer:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def one(self, *choices):
        return self.rng.choice(choices)

    def atom(self):
        return self.rng.choice(NAMES + LITERALS)

    def subject(self, depth):
        return self.atom() if self.rng.random() < 0.5 else f"({self.expression(depth - 1)})"

    def expression(self, depth):
        if depth <= 0:
            return self.atom()

        def inner():
            return self.expression(depth - 1)

        kind = self.rng.randrange(14)
        if kind < 2:
            return f"({inner()} {self.rng.choice(OPERATORS)} {inner()})"
        if kind == 2:
            return f"(not {inner()})"
        if kind == 3:
            return f"({inner()} if {inner()} else {inner()})"
        if kind == 4:
            return f"{self.subject(depth)}[{inner()}]"
        if kind == 5:
            begin, end = self.one("", "1", "-1", "0", "2", "-2"), self.one("", "1", "-1", "3")
            return f"{self.rng.choice(SLICED)}[{begin}:{end}{self.one('', ':-1', ':2', ':')}]"
        if kind == 6:
            return f"{self.subject(depth)}.{self.one(*'k b n A v items keys zz length'.split())}"
        if kind < 10:
            return f"({inner()})|{self.rng.choice(FILTERS).replace('_', ' ')}".replace(
                "from json", "from_json").replace("case sensitive", "case_sensitive").replace(
                "ensure ascii", "ensure_ascii").replace("sort keys", "sort_keys")
        if kind == 10:
            test = self.rng.choice(TESTS).replace("_", " ")
            return f"({inner()} is {self.one('', 'not ')}{test})"
        if kind == 11:
            return f"{self.subject(depth)}.{self.rng.choice(METHODS).replace('_', ' ')}"
        if kind == 12:
            return f"[{inner()},{inner()}]"
        return f"{{'k':{inner()},'j':{inner()}}}"

    def tag(self, text):
        return "{%" + self.one("", "", "-", "+") + f" {text} " + self.one("", "", "-", "+") + "%}"

    def statement(self, depth):
        if depth <= 0:
            return "{{ " + self.expression(2) + " }}"
        tag, body = self.tag, lambda: self.body(depth - 1)
        kind = self.rng.randrange(9)
        if kind == 0:
            return (tag("if " + self.expression(2)) + body() + tag("elif " + self.expression(2)) +
                    body() + tag("else") + body() + tag("endif"))
        if kind == 1:
            return (tag("for i in " + self.rng.choice(LOOPED)) + body() + self.rng.choice(IN_LOOP) +
                    self.one("", tag("else") + body()) + tag("endfor"))
        if kind == 2:
            pairs = self.one("d.items()", "d|dictsort", "[(1,2),(3,4)]", "r")
            return tag("for k, v in " + pairs) + "{{ k }}={{ v }};" + tag("endfor")
        if kind == 3:
            return tag("set a = " + self.expression(2)) + body() + "{{ a }}"
        if kind == 4:
            condition = self.one("i > 1", "loop", "true", "i is odd")
            return (tag("set ns = namespace(c=0)") + tag(f"for i in l if {condition}") +
                    tag("set ns.c = ns.c + i") + tag("endfor") + "{{ ns.c }}")
        if kind == 5:
            return (tag("macro mm(p, q=" + self.one("p", "a", "'d'", "[]", "l|first") + ")") +
                    "<{{ p }}|{{ q }}{{ varargs }}{{ kwargs }}>" + tag("endmacro") +
                    "{{ mm(" + self.rng.choice(CALLS) + ") }}")
        if kind == 6:
            return tag("set bb") + body() + tag("endset") + "[{{ bb }}]"
        if kind == 7:
            return tag("filter " + self.one("upper", "trim", "replace('a','b')")) + body() + tag(
                "endfilter")
        return "{#" + self.one("-", "", "") + " c " + self.one("-", "", "") + "#}" + body()

    def body(self, depth):
        pieces = []
        for _ in range(self.rng.randrange(4)):
            pieces.append(self.one("\n", "  ", "x", "text\n", "\n  ", "", "{{ ", "{%", "{%", "{{ "))
            if pieces[-1] == "{{ ":
                pieces[-1] = "{{ " + self.expression(2) + " }}"
            elif pieces[-1] == "{%":
                pieces[-1] = self.statement(depth)
        return "".join(pieces)


def template(seed):
    writer = Writer(seed)
    if writer.rng.random() < 0.6:
        return "{{ " + writer.expression(3) + " }}"
    return writer.body(3)


def shows_python(text):
    """Whether the text shows an object of Python's own, which has no meaning elsewhere."""
    return any(mark in text for mark in
               (" object at 0x", "bound method", "<function", "method ", "<class", "Undefined"))
