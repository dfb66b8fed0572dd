//! A job of plain mode: the text that came is written to a file in a private folder, and compiled there.

use super::arrange::arrange;
use super::compile::{failed, show_command, Job, Made, Stop, OUTPUT_BYTES_MAX};
use super::ending::Ending;
use super::workspace::Workspace;
use crate::model::received::Received;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Compiles `text` with `program`.
pub fn run(job: &Job, program: &Path, received: &Received, text: Vec<u8>) -> Result<Ending, Stop> {
    let output = match received.assembly {
        true => "out.s",
        false => "out.o",
    };
    let config = &job.config;
    let mut workspace = Workspace::create(&config.temp_dir, output, config.keep_temps)
        .map_err(failed("make a folder for the job"))?;
    let arranged = arrange(&mut workspace, program, job.argv, received, &text)
        .map_err(failed("make room for the source"))?;
    fs::write(workspace.source(), &arranged.text).map_err(failed("write the source"))?;
    let mut command = Command::new(program);
    command
        .args(arranged.words)
        .env_clear()
        .envs(
            job.shop
                .environment
                .iter()
                .map(|(name, value)| (name, value)),
        )
        .env("TMPDIR", workspace.root())
        .current_dir(&workspace.cwd)
        .stdin(Stdio::null());
    drop(arranged.text);
    drop(text); // A compile may take long.
    log::info!("{}: {}", job.client.name, show_command(&command));
    let ran = job.run(command, || Ok(()))?;
    let object = match ran.succeeded() {
        true => workspace
            .read_output(OUTPUT_BYTES_MAX)
            .map_err(failed("read the output"))?,
        false => None,
    };
    let made = Made {
        object,
        ..Made::default()
    };
    job.ending(ran, made, Box::new(workspace))
}
