//! Random text: comments, literals, raw strings, splices, line ends of all kinds, directives among them, in one file.

use crate::disk::{write, Job};
use crate::random::Dice;
use std::path::Path;

const PIECES: [&str; 62] = [
    " ",
    " ",
    "\n",
    "\n",
    "\n",
    "\t",
    "\r\n",
    "\r",
    "\\\n",
    "\\\n",
    "\\ \n",
    "\\\r\n",
    "/*",
    "*/",
    "/*",
    "*/",
    "//",
    "// x\n",
    "/",
    "*",
    "\"",
    "\"",
    "'",
    "'",
    "R\"(",
    ")\"",
    "R\"x(",
    ")x\"",
    "u8R\"(",
    "LR\"y(",
    ")y\"",
    "R\"",
    "L\"",
    "u8'",
    "1'0",
    "1'",
    "0x'a",
    "a",
    "B",
    "R",
    "\\",
    "\\\"",
    "\\'",
    "??/\n",
    "??/",
    "??'",
    "%:",
    "%",
    "#",
    "# ",
    "##",
    "<",
    ">",
    "\x0c",
    "\x0b",
    "_Pragma(\"x\")",
    "#pragma x '\n",
    "#define Q \"x /*\n",
    "#define Q(x) x\n",
    "\"/*\"",
    "'\"'",
    "=",
];

const DIRECTIVES: [&str; 14] = [
    "#include <m@.h>\n",
    "#include <m@.h>\n",
    "#include <m@.h> // x\n",
    "#include <m@.h> /* x\n",
    "#inc\\\nlude <m@.h>\n",
    "#include <m\\\n@.h>\n",
    "%:include <m@.h>\r\n",
    "??=include <m@.h>\n",
    "#/**/include/**/<m@.h>\r",
    "/* x */ # include \"marks/m@.h\"\n",
    "#include \"marks/m@.h\" 'x\n",
    "#if 0\n",
    "#if 1\n",
    "#else '\n",
];

/// Writes a source and the headers that it may include.
pub fn source(dice: &mut Dice, root: &Path, name: &str) {
    for number in 0..10 {
        write(root, &format!("marks/m{number}.h"), "");
    }
    let mut text = String::new();
    let mut open = 0;
    for _ in 0..dice.roll(12) {
        for _ in 0..dice.roll(4) {
            text += dice.pick(&PIECES);
        }
        if !dice.one_in(4) {
            text.push('\n');
        }
        let directive = dice.pick(&DIRECTIVES);
        match &directive[..3] {
            "#if" => open += 1,
            "#el" if open == 0 => continue,
            _ => {}
        }
        text += &directive.replace('@', &dice.roll(10).to_string());
        if open > 0 && dice.one_in(3) {
            text += "#endif x'\n";
            open -= 1;
        }
    }
    text += &"\n#endif\n".repeat(open);
    write(root, name, text);
}

/// A command for it.
pub fn command(dice: &mut Dice, root: &Path, compiler: &str, name: &str) -> Job {
    let standard = match name.ends_with(".c") {
        true => dice.pick(&["gnu17", "c99", "c11", "gnu89", "c90"]),
        false => dice.pick(&["gnu++17", "c++11", "c++14", "c++20", "c++98"]),
    };
    Job::new(
        root,
        &format!("{compiler} -std={standard} -Imarks -c {name}"),
    )
}
