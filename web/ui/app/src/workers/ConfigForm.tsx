import { Plus, X } from 'lucide-react';
import { useId, useState } from 'react';
import { Button, IconButton } from '../ui/Button';
import { fieldsOf, isLong, isObject, join, kindOf, resolve, type Schema } from './schema';

type Change = (value: unknown) => void;
type Errors = ReadonlyMap<string, string>;

interface FieldProps {
  name: string;
  path: string;
  schema: Schema;
  root: Schema;
  value: unknown;
  errors: Errors;
  onChange: Change;
  required?: boolean;
  inList?: boolean;
}

/**
 * A form for a configuration that a JSON Schema describes. An empty field means the default. A part of
 * the schema that contains itself is edited as JSON.
 */
export function ConfigForm({ schema, value, errors, onChange }: { schema: unknown; value: unknown; errors: Errors; onChange: Change }) {
  const root = schema as Schema;
  const resolved = resolve(root, root);
  if (!Object.keys(resolved.properties ?? {}).length) return <p className="quiet">This worker has no options.</p>;
  return (
    <div className="config">
      {errors.get('') && <p className="field-error" role="alert">{errors.get('')}</p>}
      <Properties schema={resolved} root={root} path="" value={value} errors={errors} onChange={onChange} />
    </div>
  );
}

function Properties({ schema, root, path, value, errors, onChange }: Omit<FieldProps, 'name'>) {
  const fields = isObject(value) ? value : {};
  return fieldsOf(schema, root).map(([name, part]) => (
    <ConfigField
      key={name}
      name={name}
      path={join(path, name)}
      schema={part}
      root={root}
      value={fields[name]}
      errors={errors}
      required={schema.required?.includes(name) ?? false}
      onChange={(next) => {
        const { [name]: _, ...rest } = fields;
        onChange(next === undefined ? rest : { ...rest, [name]: next });
      }}
    />
  ));
}

function titleOf(name: string, schema: Schema): string {
  return schema.title ?? name.replace(/_/g, ' ').replace(/^./, (char) => char.toUpperCase());
}

function ConfigField(props: FieldProps) {
  const { name, schema, errors, path, required } = props;
  const id = useId();
  const kind = kindOf(schema);
  const error = errors.get(path);
  const about = [error && `${id}-error`, schema.description && `${id}-about`].filter(Boolean).join(' ') || undefined;
  const title = titleOf(name, schema);
  const notes = (
    <>
      {schema.description && <p id={`${id}-about`} className="field-hint">{schema.description}</p>}
      {error && <p id={`${id}-error`} className="field-error">{error}</p>}
    </>
  );
  if (kind === 'object') {
    return (
      <fieldset className="group">
        <legend>{title}</legend>
        {notes}
        <Properties {...props} />
      </fieldset>
    );
  }
  if (kind === 'array') {
    return (
      <fieldset className="group">
        <legend>{title}</legend>
        {notes}
        <Items {...props} />
      </fieldset>
    );
  }
  if (kind === 'boolean') {
    return (
      <div className="field">
        <label className="check-line">
          <input
            type="checkbox"
            checked={shownValue(props) === true}
            aria-describedby={about}
            onChange={(event) => props.onChange(event.target.checked)}
          />
          {title}
        </label>
        {notes}
      </div>
    );
  }
  return (
    <div className="field">
      <label htmlFor={id}>{title}{required && <span className="required"> (required)</span>}</label>
      <Input {...props} id={id} about={about} invalid={!!error} />
      {notes}
    </div>
  );
}

/** The value that a field shows: the default if there is none. null is a value. */
function shownValue({ value, schema }: Pick<FieldProps, 'value' | 'schema'>): unknown {
  return value === undefined ? schema.default : value;
}

function Input({ schema, value, onChange, required, inList, id, about, invalid }: FieldProps & { id: string; about: string | undefined; invalid: boolean }) {
  const common = { id, className: 'input', 'aria-describedby': about, 'aria-invalid': invalid };
  const preset = schema.default === undefined ? '' : String(schema.default);
  switch (kindOf(schema)) {
    case 'fixed':
      return <input {...common} value={JSON.stringify(schema.const)} readOnly />;
    case 'choice': {
      const options = schema.enum ?? [];
      const chosen = JSON.stringify(shownValue({ value, schema }));
      const index = options.findIndex((option) => JSON.stringify(option) === chosen);
      return (
        <select {...common} value={index} onChange={(event) => onChange(options[Number(event.target.value)])}>
          {(index < 0 || (!required && !inList && schema.default === undefined)) && <option value={-1}>{required ? 'Choose …' : 'Not set'}</option>}
          {options.map((option, index) => <option key={index} value={index}>{schema.names?.[index] ?? (typeof option === 'string' ? option : JSON.stringify(option))}</option>)}
        </select>
      );
    }
    case 'number':
      return <NumberInput common={common} schema={schema} value={value} onChange={onChange} preset={preset} />;
    case 'text':
      return isLong(schema) ? (
        <textarea {...common} rows={4} value={String(value ?? '')} placeholder={preset} onChange={(event) => onChange(event.target.value || undefined)} />
      ) : (
        <input
          {...common}
          type={schema.format === 'password' ? 'password' : 'text'}
          value={String(value ?? '')}
          placeholder={preset}
          autoComplete="off"
          onChange={(event) => onChange(event.target.value || undefined)}
        />
      );
    default:
      return <JsonInput common={common} value={value} onChange={onChange} />;
  }
}

type Common = { id: string; className: string; 'aria-describedby': string | undefined; 'aria-invalid': boolean };

function NumberInput({ common, schema, value, onChange, preset }: { common: Common; schema: Schema; value: unknown; onChange: Change; preset: string }) {
  const [typed, setText] = useState(value === undefined ? '' : String(value));
  // Show what was typed, unless the value was changed by something else.
  const text = numberOf(typed) === (value ?? undefined) ? typed : String(value ?? '');
  const { minimum, maximum, multipleOf } = schema;
  const step = multipleOf ?? ([schema.type].flat().includes('integer') ? 1 : 'any');
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
function JsonInput({ common, value, onChange }: { common: Common; value: unknown; onChange: Change }) {
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

function Items({ schema, root, path, value, errors, onChange }: FieldProps) {
  const items = Array.isArray(value) ? value : Array.isArray(schema.default) ? schema.default : [];
  const part = resolve(schema.items ?? {}, root);
  return (
    <>
      {items.map((item: unknown, index) => (
        <div className="item" key={index}>
          <ConfigField
            name={String(index + 1)}
            path={join(path, index)}
            schema={part}
            root={root}
            value={item}
            errors={errors}
            inList
            onChange={(next) => onChange(items.with(index, next ?? (kindOf(part) === 'text' ? '' : null)))}
          />
          <IconButton label={`Remove ${index + 1}`} icon={X} onClick={() => onChange(items.toSpliced(index, 1))} />
        </div>
      ))}
      <Button icon={Plus} look="quiet" disabled={items.length >= (schema.maxItems ?? Infinity)} onClick={() => onChange([...items, emptyOf(part)])}>
        Add
      </Button>
    </>
  );
}

function emptyOf(schema: Schema): unknown {
  if (schema.default !== undefined) return schema.default;
  switch (kindOf(schema)) {
    case 'fixed':
      return schema.const;
    case 'choice':
      return schema.enum?.[0];
    case 'number':
      return schema.minimum ?? 0;
    case 'boolean':
      return false;
    case 'object':
      return {};
    case 'array':
      return [];
    default:
      return '';
  }
}
