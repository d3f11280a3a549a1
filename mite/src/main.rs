//! A small program for tests, static, so that it runs in an image that holds nothing else.
//!
//! In an image it is `pause`, which holds a Pod's namespaces open, or `serve`, which imitates what the
//! end-to-end tests of Kubernetes take of `agnhost`: `netexec` answers HTTP requests and makes some itself.
//!
//! A copy behind whose ELF file a line says so (`kinstall-standin ctr 2.0.11`, written by `standin make --of`)
//! stands in for a program of a worker: see [`runtime`].

mod http;
mod netexec;
mod process;
mod resolve;
mod runtime;
mod say;

use std::io;
use std::process::ExitCode;

use say::{line, talk};

const USAGE: &str = "usage: serve pause | netexec [--http-port=8080] | get HOST PORT [PATH] | \
    resolve NAME | show FILE | eat MIB";

fn main() -> ExitCode {
    let mut words = std::env::args();
    let name = words.next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    let words: Vec<String> = words.collect();
    let result = match runtime::own() {
        Ok(Some(identity)) => started(runtime::run(&identity, &words)),
        Ok(None) => started(run(&name, &words)),
        Err(error) => Err(error.to_string()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            talk(&error);
            ExitCode::FAILURE
        }
    }
}

fn started(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(|error| error.to_string())?.block_on(work)
}

async fn run(name: &str, words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let failed = |error: io::Error| error.to_string();
    match (name, words.as_slice()) {
        (_, ["--help"]) => {
            line(USAGE);
            Ok(())
        }
        ("pause", _) | (_, [] | ["pause"]) => process::pause().await.map_err(failed),
        (_, ["netexec", flags @ ..]) => netexec::run(flags).await,
        (_, ["get", host, port, path @ ..]) => {
            let port = port.parse().map_err(|_| format!("no port: {port}"))?;
            let path = path.first().copied().unwrap_or("/");
            line(&http::get(host, port, path).await?);
            Ok(())
        }
        (_, ["resolve", name]) => {
            for address in resolve::addresses(name).await? {
                line(&address.to_string());
            }
            Ok(())
        }
        (_, ["show", path]) => {
            let text = fs_err::read_to_string(path);
            line(text.map_err(failed)?.trim_end());
            Ok(())
        }
        (_, ["eat", mib]) => {
            let mib: usize = mib.parse().map_err(|_| format!("no number: {mib}"))?;
            // Written to, or the kernel gives no memory for it.
            let food = vec![1_u8; mib << 20];
            line(&format!("ate {} MiB", food.len() >> 20));
            process::pause().await.map_err(failed)?;
            drop(food);
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    }
}
