/** What an agent asks: a card with its choices, a field, or a small form. */
import { html, nothing, type TemplateResult } from 'lit';
import type { ChatMessage } from '../service/types';
import type { ChatController } from './ChatController';
import type { Labels } from './labels';

interface Property {
  type?: string;
  title?: string;
  description?: string;
  enum?: unknown[];
  default?: unknown;
}

export function questionView(controller: ChatController, question: ChatMessage, words: Labels): TemplateResult {
  const { options, schema } = question.data;
  const choices = Array.isArray(options) ? options : [];
  const give = (answer: unknown) => controller.answer(question, answer);
  const properties = (schema as { properties?: Record<string, Property> } | undefined)?.properties;
  return html`
    <div class="card" role="group" aria-label=${words.question}>
      <p dir="auto">${question.content}</p>
      ${properties ? formView(properties, requiredOf(schema), give, words) : choices.length ? choicesView(choices, give) : fieldView(give, words)}
    </div>`;
}

function choicesView(choices: readonly unknown[], give: (answer: unknown) => void): TemplateResult {
  return html`<div class="choices">${choices.map((choice) => html`<button dir="auto" @click=${() => give(choice)}>${nameOf(choice)}</button>`)}</div>`;
}

function nameOf(choice: unknown): string {
  if (typeof choice === 'string') return choice;
  return String((choice as { label?: string } | null)?.label ?? JSON.stringify(choice));
}

function fieldView(give: (answer: unknown) => void, words: Labels): TemplateResult {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const answer = String(new FormData(event.target as HTMLFormElement).get('answer')).trim();
    if (answer) give(answer);
  };
  return html`
    <form class="row" @submit=${submit}>
      <input name="answer" dir="auto" autocomplete="off" aria-label=${words.yourAnswer}>
      <button class="main">${words.answer}</button>
    </form>`;
}

/** One field for each property of an object; the server says what is wrong with the answer. */
function formView(properties: Record<string, Property>, required: readonly string[], give: (answer: unknown) => void, words: Labels): TemplateResult {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.target as HTMLFormElement);
    const values = Object.entries(properties).map(([name, property]) => [name, valueOf(property, given.get(name))] as const);
    give(Object.fromEntries(values.filter(([, value]) => value !== undefined)));
  };
  return html`
    <form @submit=${submit}>
      ${Object.entries(properties).map(([name, property]) => html`
        <label class=${property.type === 'boolean' ? 'check' : nothing}>
          <span dir="auto">${property.title ?? name}</span>
          ${inputView(name, property, required.includes(name))}
          ${property.description ? html`<small dir="auto">${property.description}</small>` : nothing}
        </label>`)}
      <button class="main">${words.answer}</button>
    </form>`;
}

function requiredOf(schema: unknown): readonly string[] {
  const given = (schema as { required?: unknown }).required;
  return Array.isArray(given) ? given.map(String) : [];
}

function inputView(name: string, property: Property, isRequired: boolean): TemplateResult {
  const start = property.default;
  if (property.enum) return html`<select name=${name}>${property.enum.map((one) => html`<option value=${JSON.stringify(one)} ?selected=${one === start}>${String(one)}</option>`)}</select>`;
  if (property.type === 'boolean') return html`<input type="checkbox" name=${name} ?checked=${start === true}>`;
  const isNumber = property.type === 'number' || property.type === 'integer';
  const text = start === undefined ? '' : typeof start === 'string' ? start : JSON.stringify(start);
  return html`<input name=${name} dir="auto" .defaultValue=${text} type=${isNumber ? 'number' : 'text'} step=${property.type === 'integer' ? '1' : 'any'} ?required=${isRequired}>`;
}

function valueOf(property: Property, given: FormDataEntryValue | null): unknown {
  if (property.type === 'boolean') return given !== null;
  const text = String(given ?? '');
  if (property.enum) return JSON.parse(text);
  if (text === '') return undefined;
  if (property.type === 'number' || property.type === 'integer') return Number(text);
  return property.type === 'string' || property.type === undefined ? text : parsed(text);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
