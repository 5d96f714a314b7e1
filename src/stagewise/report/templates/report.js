"use strict";
// The table of all items. Everything a model wrote goes in as text, never as HTML.
const PAGE = 20;
const element = (tag, text = "", className = "") => {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
};

async function unpack(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function field(form, label, control) {
  const made = element("label", label);
  made.append(control);
  form.append(made);
  return control;
}

function choice(form, label, options) { // options: [[value, text], …]
  const select = element("select");
  for (const [value, text] of options) select.append(new Option(text, value));
  return field(form, label, select);
}

function filters(form, data) {
  const search = element("input");
  search.type = "search";
  field(form, "text in question, answer or outputs", search);
  const names = data.checkpoints.map((each, index) => [String(index), each.name]);
  const any = [["", "any"]];
  const groups = data.groups.map((group) => {
    const values = [...new Set(data.items.map((item) => item[group]).filter((value) => value !== null))].sort();
    return values.length ? [group, choice(form, group, [...any, ...values.map((value) => [value, value])])] : null;
  }).filter((each) => each);
  const right = choice(form, "right by", [...any, ["all", "all"], ...names]);
  const wrong = choice(form, "wrong by", [...any, ["all", "all"], ...names]);
  const show = choice(form, "show", [["final", "final checkpoints"], ["all", "all checkpoints"]]);
  const by = (item, value, wanted) =>
    value === "all" ? item.answers.every((answer) => answer[0] === wanted) : item.answers[value][0] === wanted;
  const keeps = (item) => {
    const text = search.value.toLowerCase();
    return groups.every(([group, select]) => !select.value || item[group] === select.value)
      && (!right.value || by(item, right.value, true))
      && (!wrong.value || by(item, wrong.value, false))
      && (!text || [item.item, item.prompt, item.expected, ...item.answers.map((answer) => answer[4])]
        .some((part) => part.toLowerCase().includes(text)));
  };
  return { keeps, shows: (checkpoint) => show.value === "all" || checkpoint.final };
}

const verdictOf = (flexible) => (flexible === null ? "unscored" : flexible ? "right" : "wrong");

function card(checkpoint, [flexible, strict, extracted, finish, output]) {
  const made = element("div", "", `answer ${verdictOf(flexible)}`);
  const verdict = `${verdictOf(flexible)}${flexible && strict === false ? ", not strictly" : ""}`;
  const answer = extracted === null ? "no answer found" : `answer ${extracted}`;
  made.append(element("h4", checkpoint.name), element("p", `${verdict} · ${answer} · ${finish}`), element("pre", output));
  return made;
}

function row(item, data, shows) {
  const made = element("details", "", "item");
  const summary = element("summary");
  const dots = element("span", "", "dots");
  item.answers.forEach((answer, index) => {
    const dot = element("i", "", verdictOf(answer[0]));
    dot.title = data.checkpoints[index].name;
    dots.append(dot);
  });
  summary.append(element("span", `${item.prompt} `), element("b", item.expected), " ", dots);
  const about = [item.item, ...data.groups.map((group) => item[group]).filter((value) => value)];
  const answers = element("div", "", "answers");
  data.checkpoints.forEach((each, index) => { if (shows(each)) answers.append(card(each, item.answers[index])); });
  made.append(summary, element("p", about.join(" · "), "quiet"), answers);
  return made;
}

async function main() {
  const data = await unpack("everything");
  const [form, count, list, more] = ["filters", "count", "items", "more"].map((id) => document.getElementById(id));
  const { keeps, shows } = filters(form, data);
  let found = [];
  let shown = 0;
  const next = () => {
    list.append(...found.slice(shown, shown + PAGE).map((item) => row(item, data, shows)));
    shown = Math.min(shown + PAGE, found.length);
    count.textContent = `${shown} of ${found.length} items that fit, of ${data.items.length} in all`;
    more.hidden = shown === found.length;
  };
  const refresh = () => {
    found = data.items.filter(keeps);
    shown = 0;
    list.replaceChildren();
    next();
  };
  form.addEventListener("input", refresh);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", next);
  refresh();
}
main();
