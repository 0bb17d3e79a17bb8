// Results lie at the end of the page, gzipped: unpacked here when they are looked at. Runs before Snakemake's App starts.

for (const { job_properties } of Object.values(results)) job_properties.params = shared_texts[job_properties.params];

const parsed = new Promise(done => {
  if (document.readyState !== "loading") done();
  else document.addEventListener("DOMContentLoaded", done);
});

// The content of a result, as a Blob; `file` is its path beside the report.
async function unpack(file) {
  await parsed;
  const packed = document.querySelector(`script[data-result="${CSS.escape(file)}"]`);
  const bytes = Uint8Array.from(atob(packed.textContent), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { mime_type } = Object.values(results).find(result => result.data_uri === `packed:${file}`);
  return new Blob([await new Response(stream).arrayBuffer()], { type: `${mime_type};charset=utf-8` });
}

const addresses = new Map();

// The address of a result, made once.
async function addressOf(file) {
  if (!addresses.has(file)) addresses.set(file, URL.createObjectURL(await unpack(file)));
  return addresses.get(file);
}

// A figure or a page on the first page; in a fold, it is put in when the fold is opened. Until then it is a link.
class StudyResult extends HTMLElement {
  connectedCallback() {
    const fold = this.closest("details:not([open])");
    if (fold) fold.addEventListener("toggle", () => this.connectedCallback(), { once: true });
    else if (!this.put) this.put = this.load();
  }

  async load() {
    const file = this.getAttribute("src");
    await parsed;
    if (!this.isConnected) return;  // the page as it stood before React took it over
    if (!file.endsWith(".html")) {
      const image = new Image();
      image.alt = this.getAttribute("alt");
      image.src = await addressOf(file);
      this.replaceChildren(image);
      return;
    }
    const frame = document.createElement("iframe");
    frame.title = this.getAttribute("alt");
    frame.name = "embedded";
    frame.srcdoc = await (await unpack(file)).text();
    this.replaceChildren(frame);
  }
}

addEventListener("message", event => {  // a page says how high it is; in a sandbox it cannot be asked
  for (const frame of document.querySelectorAll("study-result iframe")) {
    if (frame.contentWindow === event.source) frame.style.height = `${Number(event.data.height)}px`;
  }
});

// Snakemake's menu shows a result by its address, or offers it as a file.
const setView = App.prototype.setView;
App.prototype.setView = async function (view) {
  const packed = view.contentPath?.startsWith("packed:");
  setView.call(this, packed ? { ...view, contentPath: await addressOf(view.contentPath.slice("packed:".length)) } : view);
};
document.addEventListener("click", async event => {
  const link = event.target.closest?.('a[href^="packed:"]');
  if (!link) return;
  event.preventDefault();
  const file = document.createElement("a");
  file.href = await addressOf(link.getAttribute("href").slice("packed:".length));
  file.download = link.download;
  file.click();
}, true);

if ("DecompressionStream" in window) {
  customElements.define("study-result", StudyResult);
} else {
  document.querySelector("#app").insertAdjacentHTML("beforebegin", `<p class="old-browser">This browser is too old to
    unpack the figures: Chrome and Edge 80, Firefox 113, Safari 16.4 and later ones can. They lie in the folder figures too.</p>`);
}
