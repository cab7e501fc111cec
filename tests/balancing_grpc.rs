//! The example of clients that spread themselves: without an age none finds the second server, with one
//! they do, and no call fails.

use std::process::Command;

#[test]
fn clients_spread_themselves_and_no_call_fails() {
    let output = Command::new(processes::example("balancing_grpc"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let calls: Vec<Vec<u32>> = said
        .lines()
        .skip(1)
        .map(|line| {
            let words = line.split_whitespace().rev().take(3);
            words.map(|word| word.parse().unwrap()).collect()
        })
        .collect();
    // Failed calls, those of the second server, and those of the first.
    let [[0, 0, without], [0, second, first]] = calls
        .iter()
        .map(|row| <[u32; 3]>::try_from(row.as_slice()).unwrap())
        .collect::<Vec<_>>()[..]
    else {
        panic!("{said}");
    };
    assert!(without > 0 && first > 0 && second > 0, "{said}");
}
