//! Lists the public API that a file of rustdoc's JSON describes, one item a line. `.ci/public-api`
//! makes that file, and compares the list with `tests/public_api.txt`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = std::env::args_os().nth(1).ok_or("which file of JSON?")?;
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    print!("{api}");
    Ok(())
}
