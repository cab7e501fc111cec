//! The layers of `src/`: each module uses only what stands below it, so that there are no circles.

use std::{collections::BTreeSet, fs, path::Path};

/// From the top down. Modules on one line may not use one another.
const FLOORS: &[&[&str]] = &[
    &["lib", "guide"],
    &["config", "metrics", "restart"],
    &["serve", "builder"],
    &["graceful_tls"],
    &["acceptor"],
    &["stream", "server"],
    &["teardown", "shutdown", "stats"],
    &["register", "lifetime"],
    &["ledger", "layer", "observe"],
    &["connection"],
    &["context", "handshake_error"],
    &["departures", "choice", "tally"],
    &["phase", "settings", "ending", "transport", "accept"],
    &[
        "gate",
        "handshakes",
        "keepalive",
        "pace",
        "pem",
        "room",
        "tickets",
    ],
    &["inline", "named", "sparing", "traffic", "watched"],
];

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|floor| floor.contains(&module));
    found.unwrap_or_else(|| panic!("{module} has no floor: give it one, in this test"))
}

/// The code of a file, without comments and without its tests.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    let code = lines.take_while(|line| !line.starts_with("#[cfg(test)]"));
    code.collect::<Vec<_>>().join("\n")
}

/// The modules of the crate that some code names.
fn used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let names = &code[at + "crate::".len()..];
        match names.strip_prefix('{') {
            Some(group) => used.extend(group_of(group)),
            None => used.extend(first_name(names)),
        }
    }
    used
}

/// The first names of a group such as `{a, b::{c, d}, e::f}`, after its brace.
fn group_of(group: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let (mut depth, mut begins) = (0, true);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && !letter.is_whitespace() => {
                begins = false;
                names.extend(first_name(&group[at..]));
            }
            _ => {}
        }
    }
    names
}

/// Modules have small letters; a macro or a type of the crate's root is none.
fn first_name(path: &str) -> Option<String> {
    let end = path.find(|c: char| c != '_' && !c.is_alphanumeric());
    let name = &path[..end.unwrap_or(path.len())];
    name.starts_with(|c: char| c.is_lowercase())
        .then(|| name.to_owned())
}

/// Every source file, and the module of the crate that it belongs to.
fn files(folder: &Path, module: Option<&str>, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = module.unwrap_or(&name);
        match path.is_dir() {
            true => files(&path, Some(module), found),
            false if path.extension().is_none_or(|kind| kind != "rs") => {}
            false if name == "tests" => {}
            false => found.push((module.to_owned(), code(&path))),
        }
    }
}

#[test]
fn no_circles() {
    let mut found = Vec::new();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    files(&src, None, &mut found);
    assert!(
        found.len() > 30,
        "this test reads too little: {}",
        found.len()
    );
    let mut wrong = BTreeSet::new();
    let mut arrows = 0;
    for (module, code) in &found {
        for name in used(code) {
            let down = floor(module) < floor(&name) || *module == name;
            arrows += usize::from(*module != name);
            if !down {
                wrong.insert(format!(
                    "{module} uses {name}, which does not stand below it"
                ));
            }
        }
    }
    assert!(arrows > 60, "this test sees too little: {arrows}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_floor_is_there() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in FLOORS.iter().copied().flatten() {
        let file = src.join(format!("{module}.rs")).exists();
        assert!(file || src.join(module).join("mod.rs").exists(), "{module}");
    }
}

#[test]
fn contributing_shows_them() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONTRIBUTING.md");
    let page = fs::read_to_string(page).unwrap();
    let shown = page.split_once("<!-- floors -->\n```text\n").unwrap().1;
    let floors: Vec<_> = FLOORS.iter().map(|floor| floor.join(", ")).collect();
    let floors = floors.join("\n") + "\n```\n";
    assert!(
        shown.starts_with(&floors),
        "CONTRIBUTING.md shall have\n{floors}"
    );
}

#[test]
fn groups_are_read() {
    let code = "use crate::{\n    a, b::{c, d::E},\n    f::g,\n};\nlet x = crate::h::i();";
    let expected = ["a", "b", "f", "h"].map(String::from);
    assert_eq!(used(code), BTreeSet::from(expected));
}
