import { api } from '@branchline/client/api/calls';
import { errorMessage, Problem } from '@branchline/client/api/request';
import { type FormEvent, useState } from 'react';
import { Link, useLocation } from 'wouter';
import { signedIn } from '../stores/session';
import { Button } from '../ui/Button';
import { Field } from '../ui/Field';
import { Logo } from '../ui/Logo';

/** Signing in, or creating an account. */
export function SignIn({ isNew = false }: { isNew?: boolean }) {
  const [location, navigate] = useLocation();
  const [problem, setProblem] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const values = Object.fromEntries(new FormData(event.currentTarget)) as Record<string, string>;
    const credentials = { email: values['email'] ?? '', password: values['password'] ?? '' };
    setBusy(true);
    try {
      const user = isNew
        ? await api.register({ ...credentials, ...(values['name'] ? { name: values['name'] } : {}) })
        : await api.signIn(credentials);
      if (['/login', '/register'].includes(location)) navigate('/', { replace: true });
      signedIn(user);
    } catch (error) {
      setProblem(error);
      setBusy(false);
    }
  };

  const fields = problem instanceof Problem ? problem.fields : [];
  const errorOf = (name: string) => fields.find(({ path }) => path === name)?.message;
  const other = isNew ? '/login' : '/register';
  return (
    <main className="sign-in">
      <form onSubmit={submit} aria-labelledby="sign-in-title" noValidate>
        <Logo size={40} />
        <h1 id="sign-in-title">{isNew ? 'Create an account' : 'Sign in to Branchline'}</h1>
        <p className="lead">Every conversation is a tree. Edit, regenerate and compare: nothing is ever overwritten.</p>
        {problem !== null && fields.length === 0 && <p className="alert" role="alert">{errorMessage(problem)}</p>}
        {isNew && <Field name="name" label="Name" dir="auto" hint="Optional" autoComplete="name" error={errorOf('name')} />}
        <Field name="email" label="Email" type="email" autoComplete="username" autoFocus error={errorOf('email')} />
        <Field
          name="password"
          label="Password"
          type="password"
          autoComplete={isNew ? 'new-password' : 'current-password'}
          hint={isNew ? 'At least 8 characters' : undefined}
          error={errorOf('password')}
        />
        <Button look="main" type="submit" disabled={busy}>{isNew ? 'Create account' : 'Sign in'}</Button>
        <p className="sign-in-alternative">
          {isNew ? 'Already have an account?' : 'New here?'}{' '}
          <Link href={other} onClick={() => setProblem(null)}>{isNew ? 'Sign in' : 'Create account'}</Link>
        </p>
      </form>
    </main>
  );
}
