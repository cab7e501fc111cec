//! Go's net/http, which `go/main.go` has: built where it is run.

use std::{error::Error, io, path::Path, process::Stdio};

use tokio::process::Command;

use crate::{Settings, Site, proxy};

const PROGRAM: &str = include_str!("go/main.go");

pub(crate) async fn serve(site: Site, settings: &Settings) -> Result<(), Box<dyn Error>> {
    let root = tempfile::tempdir()?;
    let (cert, key) = proxy::identity(settings, root.path())?;
    build(root.path()).await?;
    let mut child = Command::new(root.path().join("server"))
        .args([settings.addr().port().to_string(), cert, key])
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()?;
    let _guard = proxy::guard(&child, root.path())?;
    let status = proxy::until_exit(&mut child, "-TERM", site.terminations).await?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("the server ended with {status}").into()),
    }
}

async fn build(root: &Path) -> Result<(), Box<dyn Error>> {
    std::fs::write(root.join("main.go"), PROGRAM)?;
    let built = Command::new("go")
        .args(["build", "-o", "server", "main.go"])
        .current_dir(root)
        .status()
        .await;
    match built {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("go build ended with {status}").into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err("Go is not installed: `apt-get install golang-go` does it".into())
        }
        Err(error) => Err(error.into()),
    }
}
