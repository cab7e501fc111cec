//! Which reqwest this is, from the lock file.

fn main() {
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let version = lock
        .split("name = \"reqwest\"\nversion = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    println!("cargo:rustc-env=REQWEST={}", version.unwrap_or("?"));
    println!("cargo:rerun-if-changed=Cargo.lock");
}
