import { useState } from 'react';
import { isLong, isMultiple, kindOf, type Schema } from './schema';

/** The value that a field shows: the default if there is none. null is a value. */
export function shownValue({ value, schema }: { value: unknown; schema: Schema }): unknown {
  return value === undefined ? schema.default : value;
}

interface InputProps {
  schema: Schema;
  value: unknown;
  onChange: (value: unknown) => void;
  required?: boolean;
  /** Whether it is an item of a list, which cannot be left out. */
  inList?: boolean;
  id: string;
  /** The ids of the elements that describe the field. */
  about: string | undefined;
  invalid: boolean;
  /** Values to choose from; others can be typed as well. */
  offered?: readonly string[];
}

/** The input for a value that is no object and no list. */
export function ConfigInput({ schema, value, onChange, required, inList, id, about, invalid, offered = [] }: InputProps) {
  const common = { id, className: 'input', 'aria-describedby': about, 'aria-invalid': invalid };
  const preset = schema.default === undefined ? '' : String(schema.default);
  switch (kindOf(schema)) {
    case 'fixed':
      return <input {...common} value={typeof schema.const === 'string' ? schema.const : JSON.stringify(schema.const)} readOnly />;
    case 'choice': {
      const options = schema.enum ?? [];
      const chosen = JSON.stringify(shownValue({ value, schema }));
      const selected = options.findIndex((option) => JSON.stringify(option) === chosen);
      return (
        <select {...common} value={selected} onChange={(event) => onChange(options[Number(event.target.value)])}>
          {(selected < 0 || (!required && !inList && schema.default === undefined)) && <option value={-1}>{required ? 'Choose …' : 'Not set'}</option>}
          {options.map((option, index) => <option key={index} value={index}>{schema.names?.[index] ?? (typeof option === 'string' ? option : JSON.stringify(option))}</option>)}
        </select>
      );
    }
    case 'number':
      return <NumberInput common={common} schema={schema} value={value} onChange={onChange} preset={preset} />;
    case 'text':
      return isLong(schema) ? (
        <textarea {...common} dir="auto" rows={4} value={String(value ?? '')} placeholder={preset} onChange={(event) => onChange(event.target.value || undefined)} />
      ) : (
        <>
          <input
            {...common}
            dir="auto"
            type={schema.format === 'password' ? 'password' : 'text'}
            value={String(value ?? '')}
            placeholder={preset}
            autoComplete="off"
            list={offered.length ? `${id}-offered` : undefined}
            onChange={(event) => onChange(event.target.value || undefined)}
          />
          {offered.length > 0 && <datalist id={`${id}-offered`}>{offered.map((one) => <option key={one} value={one} />)}</datalist>}
        </>
      );
    default:
      return <JsonInput common={common} value={value} onChange={onChange} />;
  }
}

/** What all inputs have. */
type Common = { id: string; className: string; 'aria-describedby': string | undefined; 'aria-invalid': boolean };

function NumberInput({ common, schema, value, onChange, preset }: { common: Common; schema: Schema; value: unknown; onChange: (value: unknown) => void; preset: string }) {
  const [typed, setText] = useState(value === undefined ? '' : String(value));
  // Show what was typed, unless the value was changed by something else.
  const text = numberOf(typed) === (value ?? undefined) ? typed : String(value ?? '');
  const { minimum, maximum, multipleOf } = schema;
  // A browser counts its steps from the minimum.
  const unit = multipleOf && isMultiple(minimum ?? 0, multipleOf) ? multipleOf : undefined;
  const step = unit ?? ([schema.type].flat().includes('integer') ? 1 : 'any');
  const change = (next: string) => {
    setText(next);
    onChange(numberOf(next));
  };
  const slides = minimum !== undefined && maximum !== undefined && maximum - minimum <= 100;
  return (
    <div className="number">
      <input {...common} type="number" inputMode="decimal" min={minimum} max={maximum} step={step} placeholder={preset} value={text} onChange={(event) => change(event.target.value)} />
      {slides && (
        <input
          type="range"
          aria-label={`${schema.title ?? 'Value'}, slider`}
          min={minimum}
          max={maximum}
          step={step === 'any' ? (maximum - minimum) / 100 : step}
          value={Number(text === '' ? (schema.default ?? minimum) : text)}
          onChange={(event) => change(event.target.value)}
        />
      )}
    </div>
  );
}

function numberOf(text: string): number | string | undefined {
  if (text.trim() === '') return undefined;
  return Number.isNaN(Number(text)) ? text : Number(text);
}

/** A field for what no other field is made for: it is edited as JSON. */
function JsonInput({ common, value, onChange }: { common: Common; value: unknown; onChange: (value: unknown) => void }) {
  const [typed, setTyped] = useState({ text: inJson(value), value });
  // Show what was typed, unless the value was changed by something else. An empty item of a list is null.
  const same = inJson(typed.value) === inJson(value) || (typed.text === '' && value === null);
  const text = same ? typed.text : inJson(value);
  const change = (next: string) => {
    const read = fromJson(next);
    setTyped({ text: next, value: read ? read.value : value });
    if (read) onChange(read.value);
  };
  return (
    <>
      <textarea
        {...common}
        className="input mono"
        rows={3}
        value={text}
        placeholder="JSON"
        onChange={(event) => change(event.target.value)}
      />
      {!fromJson(text) && <p className="field-error">Invalid JSON</p>}
    </>
  );
}

function inJson(value: unknown): string {
  return value === undefined ? '' : JSON.stringify(value, null, 2);
}

function fromJson(text: string): { value: unknown } | null {
  if (text.trim() === '') return { value: undefined };
  try {
    return { value: JSON.parse(text) };
  } catch {
    return null;
  }
}
