// Browsers start no worker for a page that is opened as a file; its script then runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      const worker = frame.contentWindow;
      worker.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      worker.importScripts = () => {};
      this.worker = new Promise((ready) => {
        const script = frame.contentDocument.createElement("script");
        script.onload = () => ready(worker);
        script.src = url;
        frame.contentDocument.body.append(script);
      });
    }

    postMessage(data) {
      this.worker.then((worker) => worker.dispatchEvent(new MessageEvent("message", { data })));
    }
  };
}
