import { useEffect } from 'react';

/** The title of the window, while the component is shown. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Branchline`;
    return () => {
      document.title = 'Branchline';
    };
  }, [title]);
}
