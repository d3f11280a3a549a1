//! Chores.

use std::{path::PathBuf, process::ExitCode};

mod flag_table;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let done = match (words.next(), words.next()) {
        (Some(task), Some(data)) if task == "flag-table" => flag_table::run(&PathBuf::from(data)),
        _ => return ExitCode::from(2),
    };
    if done.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
