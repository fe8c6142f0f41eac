(() => {
  const connection = document.getElementById("connection");
  const stream = new EventSource("/live");
  stream.onopen = () => { connection.hidden = true; };
  stream.onerror = () => { connection.hidden = false; };
  stream.addEventListener("reload", () => { stream.close(); location.reload(); });
  stream.onmessage = (message) => {
    for (const [id, html] of Object.entries(JSON.parse(message.data))) {
      const element = document.getElementById(id);
      // Do not take the button away under a finger that is about to press it.
      if (element && !element.querySelector("button:focus")) element.innerHTML = html;
    }
  };
})();
