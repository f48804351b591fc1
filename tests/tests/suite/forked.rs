//! After a `fork` both processes have the same memory, and not the same keys.

use std::process::Command;

#[test]
fn e6_after_a_fork_parent_and_child_draw_other_keys_and_other_masks() {
    let output = Command::new(env!("CARGO_BIN_EXE_forked")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let [first, second] = text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let (first_key, first_frames) = first.split_once(' ').unwrap();
    let (second_key, second_frames) = second.split_once(' ').unwrap();
    assert_ne!(first_key, second_key);
    assert_ne!(first_frames, second_frames);
    // What was drawn before is the same in both, or this would show nothing.
    let before = |frames: &str| frames.split(", ").skip(7).map(String::from).collect::<Vec<_>>();
    assert_eq!(before(first_frames), before(second_frames));
}
