import { Plus, X } from 'lucide-react';
import { useId, useState } from 'react';
import { Button, IconButton } from '../ui/Button';
import { ConfigInput, shownValue } from './ConfigInput';
import { branchName, branchOf, discriminators, fieldsOf, inBranch, isObject, join, kindOf, resolve, type Schema, titleOf } from './schema';

type Change = (value: unknown) => void;
type Errors = ReadonlyMap<string, string>;
/** By field of the configuration, what may be chosen there. */
type Choices = Readonly<Record<string, readonly string[]>>;

interface FieldProps {
  name: string;
  path: string;
  schema: Schema;
  root: Schema;
  value: unknown;
  errors: Errors;
  choices?: Choices | undefined;
  onChange: Change;
  required?: boolean;
  inList?: boolean;
}

/**
 * A form for a configuration that a JSON Schema describes. An empty field means the default. A part of
 * the schema that contains itself is edited as JSON.
 */
export function ConfigForm({ schema, value, errors, choices, onChange }: { schema: unknown; value: unknown; errors: Errors; choices?: Choices; onChange: Change }) {
  const root = schema as Schema;
  const resolved = resolve(root, root);
  const union = kindOf(resolved) === 'union';
  if (!union && !Object.keys(resolved.properties ?? {}).length) return <p className="quiet">This worker has no options.</p>;
  return (
    <div className="config">
      {errors.get('') && <p className="field-error" role="alert">{errors.get('')}</p>}
      {union ? (
        <Union name="kind" schema={resolved} root={root} path="" value={value} errors={errors} choices={choices} required onChange={onChange} />
      ) : (
        <Properties schema={resolved} root={root} path="" value={value} errors={errors} choices={choices} onChange={onChange} />
      )}
    </div>
  );
}

function Properties({ schema, root, path, value, errors, choices, hidden, onChange }: Omit<FieldProps, 'name'> & { hidden?: string[] }) {
  const fields = isObject(value) ? value : {};
  const shown = fieldsOf(schema, root).filter(([name]) => !hidden?.includes(name));
  return shown.map(([name, part]) => (
    <ConfigField
      key={name}
      name={name}
      path={join(path, name)}
      schema={part}
      root={root}
      value={fields[name]}
      errors={errors}
      choices={choices}
      required={schema.required?.includes(name) ?? false}
      onChange={(next) => {
        const { [name]: _, ...rest } = fields;
        onChange(next === undefined ? rest : { ...rest, [name]: next });
      }}
    />
  ));
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
  if (kind === 'union') {
    return (
      <fieldset className="group">
        <legend>{title}{required && <span className="required"> (required)</span>}</legend>
        {notes}
        <Union {...props} about={about} invalid={!!error} />
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
      <ConfigInput {...props} offered={props.choices?.[path] ?? []} id={id} about={about} invalid={!!error} />
      {notes}
    </div>
  );
}

/** One of several objects: which one, then its fields. What both have is kept when another one is chosen. */
function Union({ name, schema, root, path, value, errors, choices, required, inList, about, invalid, onChange }: FieldProps & { about?: string | undefined; invalid?: boolean }) {
  const branches = schema.branches ?? [];
  // A value without fixed fields can be of several branches.
  const [preferred, setPreferred] = useState(-1);
  const shown = shownValue({ value, schema });
  const branch = branchOf(branches, shown, root, branches[preferred]);
  const choose = (index: number) => {
    const next = branches[index];
    setPreferred(index);
    onChange(next && inBranch(next, shown, root, branch));
  };
  return (
    <>
      <select
        className="input"
        aria-label={titleOf(name, schema)}
        aria-describedby={about}
        aria-invalid={invalid ?? false}
        value={branch ? branches.indexOf(branch) : -1}
        onChange={(event) => choose(Number(event.target.value))}
      >
        {(!branch || (!required && !inList && schema.default === undefined)) && <option value={-1}>{required ? 'Choose …' : 'Not set'}</option>}
        {branches.map((one, index) => <option key={index} value={index}>{branchName(one, branches, root)}</option>)}
      </select>
      {branch?.description && <p className="field-hint">{branch.description}</p>}
      {branch && (
        <Properties
          key={branches.indexOf(branch)}
          schema={branch}
          root={root}
          path={path}
          value={shown}
          errors={errors}
          choices={choices}
          hidden={discriminators(branches, root)}
          onChange={onChange}
        />
      )}
    </>
  );
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
      <Button icon={Plus} look="quiet" disabled={items.length >= (schema.maxItems ?? Infinity)} onClick={() => onChange([...items, emptyOf(part, root)])}>
        Add
      </Button>
    </>
  );
}

/** What an item is that was just added to a list. */
export function emptyOf(schema: Schema, root: Schema): unknown {
  if (schema.default !== undefined) return schema.default;
  switch (kindOf(schema)) {
    case 'fixed':
      return schema.const;
    case 'choice':
      return schema.enum?.[0];
    case 'number':
      return null;
    case 'boolean':
      return false;
    case 'object':
      return {};
    case 'union':
      return inBranch(schema.branches?.[0] ?? {}, {}, root);
    case 'array':
      return [];
    default:
      return '';
  }
}
