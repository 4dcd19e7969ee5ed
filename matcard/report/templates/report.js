"use strict";
// Still pictures become moving ones when they come into view, and still again when they leave it: a browser
// holds a dozen 3D views at most. On paper, without WebGL, and until a finger asks for it, the still picture stays.
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const shared = () => ({
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { color: colour("ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
    hoverlabel: { bgcolor: colour("paper"), bordercolor: colour("grey"), font: { color: colour("ink") }, align: "left" },
    hovermode: "closest",
  });
  const config = { displayModeBar: false, responsive: true, scrollZoom: false };

  // How far a crystal reaches from the middle of its view, whose upper edge is at 1: none leaves it when it is turned.
  const REACH = 0.97;

  // Points and triangles of a ball, by latitude and longitude.
  const ball = ((rings, slices) => {
    const points = [];
    const faces = [];
    for (let r = 0; r <= rings; r++) {
      for (let s = 0; s < slices; s++) {
        const polar = (Math.PI * r) / rings;
        const turn = (2 * Math.PI * s) / slices;
        points.push([Math.sin(polar) * Math.cos(turn), Math.sin(polar) * Math.sin(turn), Math.cos(polar)]);
        if (r < rings) {
          const [here, beside] = [r * slices + s, r * slices + ((s + 1) % slices)];
          faces.push([here, here + slices, beside], [beside, here + slices, beside + slices]);
        }
      }
    }
    return { points, faces };
  })(10, 16);

  function atoms(symbol, { colour: fill, radius, at, frac }) {
    const mesh = { x: [], y: [], z: [], i: [], j: [], k: [], text: [] };
    at.forEach((centre, atom) => {
      const first = mesh.x.length;
      const text = `${symbol} (${frac[atom].join(", ")})`;
      for (const point of ball.points) {
        ["x", "y", "z"].forEach((axis, a) => mesh[axis].push(centre[a] + radius * point[a]));
        mesh.text.push(text);
      }
      for (const face of ball.faces) ["i", "j", "k"].forEach((corner, c) => mesh[corner].push(first + face[c]));
    });
    return {
      type: "mesh3d", ...mesh, color: fill, hoverinfo: "text", flatshading: false,
      // The light stands above the eye, wherever that goes; the eye is at depth -1.
      lighting: { ambient: 0.55, diffuse: 0.75, specular: 0.3, roughness: 0.4, fresnel: 0.1 },
      lightposition: { x: -40, y: 90, z: -1.15 },
    };
  }

  function structure(plot, { elements, edges, eye }) {
    const lines = { x: [], y: [], z: [] };
    for (const [from, to] of edges) {
      ["x", "y", "z"].forEach((axis, a) => lines[axis].push(from[a], to[a], null));
    }
    const cell = { type: "scatter3d", mode: "lines", ...lines, hoverinfo: "skip", line: { color: colour("grey"), width: 2 } };
    const balls = Object.entries(elements).map((entry) => atoms(...entry));
    const points = [cell, ...balls].flatMap(({ x, y, z }) => x.map((value, k) => [value, y[k], z[k]]));
    const seen = points.filter(([value]) => value !== null);
    const ranges = [0, 1, 2].map((a) => seen.map((point) => point[a])).map((at) => [Math.min(...at), Math.max(...at)]);
    const middle = ranges.map(([low, high]) => (low + high) / 2);
    const farthest = Math.max(...seen.map((point) => Math.hypot(...point.map((value, a) => value - middle[a]))));
    const [x, y, z] = ranges.map(([low, high]) => (REACH * (high - low)) / farthest);
    const [xaxis, yaxis, zaxis] = ranges.map((range) => ({ visible: false, showspikes: false, range }));
    return Plotly.newPlot(plot, [cell, ...balls], {
      ...shared(),
      margin: { l: 0, r: 0, t: 0, b: 0 },
      showlegend: false,
      scene: {
        xaxis, yaxis, zaxis, aspectmode: "manual", aspectratio: { x, y, z }, dragmode: "orbit",
        camera: { projection: { type: "orthographic" }, eye: { x: eye[0], y: eye[1], z: eye[2] } },
      },
    }, config);
  }

  function start(view) {
    if (view.classList.contains("moving")) return;
    view.classList.add("moving");
    const live = view.querySelector(".live");
    const plot = document.createElement("div");
    plot.className = "plot";
    live.hidden = false;
    live.append(plot);
    structure(plot, JSON.parse(view.querySelector("script").textContent));
  }

  function stop(view) {
    if (!view.classList.contains("moving")) return;
    view.classList.remove("moving");
    const live = view.querySelector(".live");
    Plotly.purge(live.querySelector(".plot"));
    live.replaceChildren();
    live.hidden = true;
  }

  const hasWebGL = Boolean(document.createElement("canvas").getContext("webgl"));
  const views = hasWebGL ? [...document.querySelectorAll(".view")] : [];
  // A finger that scrolls the page must not turn a crystal: there a button starts it.
  const pointer = matchMedia("(hover: hover)").matches;
  for (const view of pointer ? [] : views) {
    const button = document.createElement("button");
    button.textContent = "Turn";
    button.addEventListener("click", () => {
      button.remove();
      start(view);
    });
    view.append(button);
  }
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) stop(target);
      else if (pointer) start(target);
    }
  }, { rootMargin: "100px" });
  views.forEach((view) => observer.observe(view));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const view of views.filter((each) => each.classList.contains("moving"))) {
      stop(view);
      start(view);
    }
  });
})();
