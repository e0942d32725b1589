//! Chromium without a window, driven by chromedriver (WebDriver, W3C; and the DevTools protocol for what that
//! has no word for): what a page shows, its pictures, and what its console said.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A browser with one page.
pub(crate) struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.args(["--port=0"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut driver = command.spawn().unwrap_or_else(|error| {
            panic!("chromedriver cannot be run ({error}): install the packages chromium and chromium-driver")
        });
        let mut lines = BufReader::new(driver.stdout.take().expect("a pipe")).lines();
        let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let port = line.split_once("started successfully on port ")?.1;
            port.trim_end_matches('.').parse::<u16>().ok()
        });
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.expect("chromedriver names its port");
        let mut browser = Self { driver, session: format!("http://127.0.0.1:{port}/session") };
        let options = json!({ "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
        ]});
        let always = json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let begun = browser.order("", &json!({ "capabilities": { "alwaysMatch": always } }));
        let id = begun["sessionId"].as_str().expect("a session").to_owned();
        browser.session.push_str(&format!("/{id}"));
        browser
    }

    fn order(&self, what: &str, parameters: &Value) -> Value {
        let url = format!("{}{what}", self.session);
        let (parameters, data) = (parameters.to_string(), "Content-Type: application/json");
        let answer = curl(&["--header", data, "--data-binary", &parameters, &url]);
        let mut answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
        assert!(answer["value"].get("error").is_none(), "{url}: {answer:#}");
        answer["value"].take()
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.order("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    /// Loads a page.
    pub(crate) fn open(&self, url: &str) {
        self.order("/url", &json!({ "url": url }));
    }

    /// The value of a JavaScript expression.
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.order("/execute/sync", &json!({ "script": format!("return {expression}"), "args": [] }))
    }

    /// What the console has said since the last call.
    pub(crate) fn console(&self) -> Vec<String> {
        let said = self.order("/se/log", &json!({ "type": "browser" }));
        said.as_array().into_iter().flatten().map(Value::to_string).collect()
    }

    /// Sets the width of the page in CSS pixels, and the colours that its user wants.
    pub(crate) fn look(&self, width: u32, dark: bool) {
        self.look_at(width, dark, 1.5);
    }

    /// The same with so many pixels of a picture for one CSS pixel.
    pub(crate) fn look_at(&self, width: u32, dark: bool, scale: f64) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": scale, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
        let wanted = json!({ "name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" } });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [wanted] }));
    }

    /// Writes a picture of the whole page.
    pub(crate) fn picture(&self, file: &Path) {
        let wanted = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.devtools("Page.captureScreenshot", &wanted);
        let bytes = STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("Base64");
        std::fs::write(file, bytes).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

fn curl(arguments: &[&str]) -> Result<Value, String> {
    let output =
        Command::new("curl").args(["-sS", "--max-time", "60", "--noproxy", "*"]).args(arguments).output();
    let output = output.map_err(|error| format!("curl cannot be run ({error}): see `make packages`"))?;
    let said = String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {said}"))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // This ends Chromium, too.
        let _ = curl(&["--request", "DELETE", &self.session]);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
