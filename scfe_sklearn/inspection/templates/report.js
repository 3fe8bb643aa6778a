"use strict";
const filter = document.getElementById("filter");
if (filter) {
  const text = document.getElementById("filter-text");
  const status = document.getElementById("filter-status");
  const count = document.getElementById("filter-count");
  const people = [...document.querySelectorAll("[data-status]")];
  const words = people.map((person) => person.textContent.toLowerCase());
  const show = () => {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    people.forEach((person, k) => {
      const match = (!status.value || person.dataset.status === status.value)
        && wanted.every((word) => words[k].includes(word));
      person.hidden = !match;
      shown += match;
    });
    count.textContent = `${shown.toLocaleString("en")} of ${people.length.toLocaleString("en")}`;
  };
  text.addEventListener("input", show);
  status.addEventListener("change", show);
  filter.hidden = false;
  show();
}
